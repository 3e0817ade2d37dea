"""The endpoint that botocore would use for a service: environment variables, then the profile in the config file.

The operator needs it before it creates a client: with a configured endpoint the region's name is not checked, http://
requires a flag, and an error names the variable.

Guarantee: the URL is the one that a client without `endpoint_url` uses (tests/aws/test_endpoints.py compares the two).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError
from botocore.session import Session

from sagemaker_operator.aws.configuration import explain
from sagemaker_operator.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

IGNORE = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"


class ConfiguredEndpoint(NamedTuple):
    """An endpoint and its source."""

    url: str
    source: str
    """As the user wrote it: AWS_ENDPOINT_URL_STS, or "endpoint_url of profile dev in ~/.aws/config"."""


def configured_endpoint(service: str, environ: Mapping[str, str] = os.environ) -> ConfiguredEndpoint | None:
    """The configured endpoint of `service` ("sagemaker", "sts"); None: AWS's own.

    Raises ConfigurationError for a profile or config file that cannot be used.
    """
    session = Session()
    try:
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        for name in (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL"):
            if url := environ.get(name):
                return ConfiguredEndpoint(url, name)
        return _in_file(session, service)
    except BotoCoreError as error:
        known = explain(error)
        raise ConfigurationError(known.message if known else f"AWS configuration: {error}") from error


def _in_file(session: Session, service: str) -> ConfiguredEndpoint | None:
    profile: Mapping[str, Any] = session.get_scoped_config()
    file = session.get_config_variable("config_file")
    section = profile.get("services")
    if section is not None:
        services: Mapping[str, Any] = session.full_config.get("services", {})
        if section not in services:
            raise ConfigurationError(
                f"AWS configuration: the profile names services {section!r}; {file} has no [services {section}]"
            )
        own = services[section].get(service)
        if isinstance(own, dict) and (url := own.get("endpoint_url")):
            return ConfiguredEndpoint(url, f"endpoint_url of {service} in [services {section}] of {file}")
    if url := profile.get("endpoint_url"):
        return ConfiguredEndpoint(url, f"endpoint_url of profile {session.profile or 'default'} in {file}")
    return None
