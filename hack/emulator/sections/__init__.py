"""One module per section of Meta's documentation, under the names the documentation uses."""
