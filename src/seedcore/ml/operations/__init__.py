"""The service's operations, one module for each part."""
