"""What the site generates from the code when it is built: the glossary, the API, the presets, and links."""
