"""What monitoring reads of the task tables, always within bounds."""
