"""Run Amazon SageMaker from Kubernetes. See docs/architecture.md for the floors of this house."""

__version__ = "0.1.0"
