"""Rules: `loader` reads them and `engine` applies them."""
