"""The gateway: /api/v1 as a Serve application, and on its own."""
