"""Routes for operators: keys and the audit log."""
