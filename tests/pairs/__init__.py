"""What features are tried in pairs with: small data of every kind, and a model of one's own of every kind."""
