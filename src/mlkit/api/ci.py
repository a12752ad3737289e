"""Which job of a CI service this run is, by what such services put into the environment.

It says who built something only as far as the service is believed that runs the job: whoever holds the signing key can
put anything there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_TEXT_LIMIT = 512  # characters of one value; URLs of jobs have a hundred

# docs.github.com, "Default environment variables"
_GITHUB = {
    "repository": "GITHUB_REPOSITORY",
    "ref": "GITHUB_REF",
    "commit": "GITHUB_SHA",
    "workflow": "GITHUB_WORKFLOW_REF",
    "event": "GITHUB_EVENT_NAME",
    "actor": "GITHUB_ACTOR",
    "run_id": "GITHUB_RUN_ID",
    "run_attempt": "GITHUB_RUN_ATTEMPT",
    "runner_environment": "RUNNER_ENVIRONMENT",
}
# docs.gitlab.com, "Predefined CI/CD variables reference"
_GITLAB = {
    "repository": "CI_PROJECT_PATH",
    "ref": "CI_COMMIT_REF_NAME",
    "commit": "CI_COMMIT_SHA",
    "workflow": "CI_CONFIG_PATH",
    "event": "CI_PIPELINE_SOURCE",
    "actor": "GITLAB_USER_LOGIN",
    "pipeline": "CI_PIPELINE_URL",
    "job_id": "CI_JOB_ID",
    "runner_id": "CI_RUNNER_ID",
}


@dataclass(frozen=True, slots=True)
class CiJob:
    """One job."""

    system: Literal["github", "gitlab"]
    builder_id: str
    """A URI, as SLSA's builders of these services are named."""
    run: str | None
    """URL of the job."""
    facts: Mapping[str, str]
    """What else the service says, under our names."""


def ci_job(environ: Mapping[str, str]) -> CiJob | None:
    """The job that the environment tells of; None outside of the services that are known."""
    if environ.get("GITHUB_ACTIONS") == "true":
        facts = _facts(environ, _GITHUB)
        server = _text(environ, "GITHUB_SERVER_URL") or "https://github.com"
        workflow, repository, run = (facts.get(name) for name in ("workflow", "repository", "run_id"))
        attempt = facts.get("run_attempt", "1")
        return CiJob(
            "github",
            # Of its runners, not of the workflow: who runs a job is the builder, what it runs is a parameter.
            f"{server}/actions/runner/{facts.get('runner_environment', 'self-hosted')}",
            f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}" if repository and run else workflow,
            facts,
        )
    if environ.get("GITLAB_CI") == "true":
        facts = _facts(environ, _GITLAB)
        project = _text(environ, "CI_PROJECT_URL") or _text(environ, "CI_SERVER_URL") or "https://gitlab.com"
        return CiJob(
            "gitlab", f"{project}/-/runners/{facts.get('runner_id', '0')}", _text(environ, "CI_JOB_URL"), facts
        )
    return None


def _facts(environ: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, variable in names.items() if (text := _text(environ, variable))}


def _text(environ: Mapping[str, str], variable: str) -> str | None:
    text = environ.get(variable, "")
    return text if text and text.isprintable() and len(text) <= _TEXT_LIMIT else None
