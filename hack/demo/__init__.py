"""The main job, end to end, on this machine: a real kube-apiserver, the real operator, and the stand-in for Meta."""
