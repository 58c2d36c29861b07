"""The Coordinator: decides for every task, monitors streams, and triages anomalies."""
