"""The heavy steps: what runs in the child process or Job, and what starts, limits and ends that child.

`entry` runs one step; `refresh`, `encoding` and `acknowledging` are the steps; `child` and `inline` implement
`controller.ports.preparing.Preparing`. Of these, the operator imports only `child`.
"""
