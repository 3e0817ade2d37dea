"""Reconcile logic, in packages whose imports go one way (the contract is in pyproject.toml).

Top first: `controller`, `reconcile`, `features` and `polling` use `status`, which uses `plan`, which uses `interfaces`,
`placement`, `spec` and `observation`. `plan` and `spec` are pure.
"""
