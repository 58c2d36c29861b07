"""The valve's figures: false alarms, delays beside other detectors, text, real series, cost."""
