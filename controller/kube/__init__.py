"""The Kubernetes adapter: the port `Cluster`, the Lease and the Events over one transport.

`transport` names what is sent and how it can fail; `client` is the transport over the official client (the only module
that imports it); everything else is the same code over the API server's wire format, whoever carries it.
"""
