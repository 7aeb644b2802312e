"""The policy's part of the client that needs no server."""

import msgspec

from headscale_saas.actions import policies, policy_checks
from headscale_saas.actions.policies import Policy, Put
from headscale_saas.actions.policy_checks import Question
from headscale_saas.cli import messages, translate
from headscale_saas.cli.place import Place
from headscale_saas.errors import NotFound

NO_POLICY = "the text is empty: without a policy everyone may reach everyone"


class DirectPolicies(Place):
    """`PolicyClient` over the database."""

    async def get_policy(self, version: int = 0) -> messages.Policy:
        found = await self._policy(version)
        if not version and not found.text:
            raise NotFound("acl policy not found", code="no_policy")
        return translate.policy_message(found.version, found.text)

    async def set_policy(
        self, text: str, *, etag: str = "", comment: str = "", bypass_file: bool = False
    ) -> messages.Policy:
        self._demand_editable()
        put = await policies.set_policy(
            self._database,
            self._actor,
            await self._tailnet(),
            text,
            expected_etag=etag or None,
            comment=comment,
            bypass_file=bypass_file,
        )
        return _put_message(put)

    async def rollback_policy(
        self, version: int, *, comment: str = "", bypass_file: bool = False
    ) -> messages.Policy:
        self._demand_editable()
        put = await policies.rollback(
            self._database,
            self._actor,
            await self._tailnet(),
            version,
            comment=comment,
            bypass_file=bypass_file,
        )
        return _put_message(put)

    async def check_policy(self, text: str) -> messages.PolicyChecked:
        strangers = await policy_checks.check_policy(self._database, await self._tailnet(), text)
        return messages.PolicyChecked(warnings=translate.warnings(strangers) if text else [NO_POLICY])

    async def test_policy(self, text: str | None = None) -> messages.PolicyTested:
        tested = await policy_checks.run_tests(self._database, await self._tailnet(), text)
        failures = [f"{failure.position}: {failure}" for failure in tested.failures]
        return messages.PolicyTested(tests=tested.count, failures=failures)

    async def explain_policy(
        self, source: str, destination: str, port: int, *, protocol: str = "", text: str | None = None
    ) -> list[messages.PolicyVerdict]:
        question = Question(source, destination, port, protocol)
        found = await policy_checks.explained(self._database, await self._tailnet(), question, text)
        return [translate.verdict_message(verdict) for verdict in found]

    async def policy_history(self) -> list[messages.Policy]:
        found = await policies.history(self._database, await self._tailnet())
        return [translate.policy_message(version) for version in found]

    async def diff_policy(self, before: int, after: int | str) -> str:
        one = await self._policy(before)
        other = after if isinstance(after, str) else await self._policy(after)
        return await policies.diff(one, other)

    async def _policy(self, version: int) -> Policy:
        tailnet = await self._tailnet()
        if version:
            return await policies.get_version(self._database, tailnet, version)
        return await policies.get_policy(self._database, tailnet)

    def _demand_editable(self) -> None:
        config = self._config
        from_file = config.tailnet.name if config.policy.mode == "file" else ""
        policies.demand_editable(self._tailnet_name, from_file)


def _put_message(put: Put) -> messages.Policy:
    message = translate.policy_message(put.policy.version, put.policy.text, is_new=put.is_new)
    return msgspec.structs.replace(message, warnings=translate.warnings(put.strangers))
