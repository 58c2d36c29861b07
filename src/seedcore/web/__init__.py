"""What every HTTP application shares."""
