"""What to do next with one object: pure functions from facts to one action.

`actions` has the facts and the actions; `next_action` is the decision function; `deletion`, `adoption` and `failure`
are its branches; `progress` says how far the resource is.
"""
