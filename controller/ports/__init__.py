"""What the use cases need from the world: Protocols, and the values that cross them.

`preparing`   documents between the operator and the child process that holds the rows
`meta`        Meta's Graph API
`kubernetes`  the API server
`stores`      where snapshots, payloads and journals are kept
"""
