"""Tenants at the door: who is asking, what they may call, and whether their quota allows it now. docs/tenants.md."""

from plimsoll.gateway.tenants.directory import Directory
from plimsoll.gateway.tenants.jwks import KeysPending
from plimsoll.gateway.tenants.tenant import Tenant

__all__ = ["Directory", "KeysPending", "Tenant"]
