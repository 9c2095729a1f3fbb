"""Pure code and single parts, in seconds, without sleeping."""
