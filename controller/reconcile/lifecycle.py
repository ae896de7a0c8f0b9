"""Finalizers, and the keys of what reconcile works on."""

from typing import TypeVar

from controller.api.resource import Resource
from controller.reconcile.context import Context

R = TypeVar("R", bound=Resource)


async def hold(context: Context, resource: R) -> R:
    """Keep the object from going before what it stands for at Meta is settled."""
    if resource.metadata.has_finalizer:
        return resource
    return await _set(context, resource, present=True)


async def let_go(context: Context, resource: R) -> R:
    """Nothing is left to settle."""
    if not resource.metadata.has_finalizer:
        return resource
    return await _set(context, resource, present=False)


async def _set(context: Context, resource: R, *, present: bool) -> R:
    written = await context.cluster.set_finalizer(resource, present=present)
    if written is None:
        return resource
    context.objects.accept(written)
    return written
