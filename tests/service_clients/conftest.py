"""The ML service that its client is tested against."""

from tests.ml.conftest import service

__all__ = ["service"]
