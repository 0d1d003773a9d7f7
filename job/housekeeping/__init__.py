"""Looking after published runs: list them, verify one against its manifest, delete old ones."""
