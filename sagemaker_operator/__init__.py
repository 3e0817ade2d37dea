"""Run Amazon SageMaker from Kubernetes. docs/architecture.md describes the layers of this package."""

__version__ = "0.1.0"
