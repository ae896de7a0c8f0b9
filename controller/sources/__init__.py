"""Where rows come from: HTTP(S) and the administrator's volumes, read in the child, looked at by the operator."""
