"""Marketing API, Catalog: the nodes and edges of product catalogs."""
