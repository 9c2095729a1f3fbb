"""What operators start from, tried: rules, dashboard, examples, image."""
