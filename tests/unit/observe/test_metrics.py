from prometheus_client.parser import text_string_to_metric_families

from headscale_saas.observe import Metrics


def test_every_sample_says_cluster_and_process() -> None:
    metrics = Metrics()
    metrics.sessions.inc()
    metrics.registrations.labels(result="registered").inc()
    metrics.loop_lag.observe(0.002)
    families = list(text_string_to_metric_families(metrics.text(cluster_id=3, process="w1").decode()))
    samples = [sample for family in families for sample in family.samples]
    assert samples
    assert all(sample.labels.items() >= {"cluster": "3", "process": "w1"}.items() for sample in samples)


def test_two_processes_in_one_program_do_not_share_numbers() -> None:
    one, other = Metrics(), Metrics()
    one.sessions.set(5)
    assert b"headscale_map_sessions{" in other.text(cluster_id=1, process="b")
    assert other.registry.get_sample_value("headscale_map_sessions") == 0


def test_headscales_names_are_kept_where_the_meaning_is_the_same() -> None:
    metrics = Metrics()
    metrics.responses_sent.labels(status="ok", type="full").inc()
    assert metrics.registry.get_sample_value(
        "headscale_mapresponse_sent_total", {"status": "ok", "type": "full"}
    ) == 1  # fmt: skip
