"""`python -m sagemaker_operator`."""

from sagemaker_operator.cli import main

main()
