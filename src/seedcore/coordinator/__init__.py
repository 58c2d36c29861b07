"""The Coordinator: publishes what workers decide with, learns from reports, monitors streams, and triages anomalies."""
