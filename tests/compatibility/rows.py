"""The behaviour of ACK's runtime and of this operator, row by row: docs/ack-compatibility.md is generated from this table.

Each row names the tests that show our side. ACK's side: its code at runtime v0.62, corrected by a recorded run of v1.9.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    KEPT = "kept"
    IMPROVED = "improved"


KEPT, IMPROVED = Verdict.KEPT, Verdict.IMPROVED


@dataclass(frozen=True)
class Row:
    """One situation. `tests` are pytest node ids below tests/, without parameters."""

    subject: str
    ack: str
    verdict: Verdict
    ours: str
    tests: tuple[str, ...]


def row(subject: str, ack: str, verdict: Verdict, ours: str, *tests: str) -> Row:
    return Row(subject, ack, verdict, ours, tests)


_JOB = "e2e/test_training_job.py::"
_PLAN = "control/test_plan.py::"
_KINDS = "e2e/test_kinds_"

REQUEUE = (
    row(
        "settled (Synced)",
        "read again every 10 h, or 30 s to 300 s by kind; each read is written to status",
        IMPROVED,
        "the same flags and precedence; 10 h for every kind, a finished job never again, nothing written without a change",
        _JOB + "test_a_settled_object_makes_no_calls_and_no_writes",
        _KINDS + "convergence.py::test_five_more_reconciles_change_nothing",
        _PLAN + "test_a_finished_job_costs_nothing",
    ),
    row(
        "in progress (not Synced)",
        "one or two Describes per object every 30 s",
        IMPROVED,
        "at once after the create, then after 5 s, 20 s, 30 s, and every 60 s; one List page reports 100",
        _JOB + "test_many_jobs_are_polled_by_list",
        _JOB + "test_a_ten_minute_job_costs_at_most_25_calls_and_10_writes",
    ),
    row(
        "an edit or a deletion of a busy resource",
        "every 30 s",
        IMPROVED,
        "followed by the poller; the edit is sent as soon as the resource accepts updates",
        _PLAN + "test_an_updatable_edit_is_sent_and_waited_for",
        _PLAN + "test_a_stopping_job_is_waited_for",
    ),
    row(
        "no role for the account",
        "retried every 15 s",
        KEPT,
        "15 s, and at once when a map, a namespace or a selector changes",
        "e2e/test_placement.py::test_a_wrong_map_makes_no_call_until_it_is_fixed",
    ),
    row(
        "Terminal",
        "never, until an edit or a restart",
        IMPROVED,
        "an edit, an annotation, a referenced object; within the hour if SageMaker refused; a running job is followed all the same",
        "e2e/test_parked.py::test_an_update_that_sagemaker_refused_recovers_within_the_hour_without_an_edit",
        _PLAN + "test_a_rejected_edit_never_stops_the_polling",
        _JOB + "test_an_edit_that_cannot_be_made_names_the_field_and_stops_nothing",
    ),
    row(
        "any other error",
        "5 ms doubling to 1000 s, without jitter, after three attempts of the SDK",
        IMPROVED,
        "1 s doubling to 5 min with full jitter; 1 to 15 min where a person or a quota must act; throttling waits for its slot",
        _JOB + "test_a_create_that_the_account_refuses_recovers_without_an_edit",
        _JOB + "test_a_burst_of_throttling_never_shows_in_a_condition",
    ),
)

CONDITIONS = (
    row(
        "ACK.ResourceSynced",
        "True beside Terminal for many kinds; message `<Kind> is in <S> status.`",
        IMPROVED,
        "the same messages, only ever after a read; beside Terminal it is True only for what failed or stopped in SageMaker by "
        "itself, as in ACK",
        "control/test_conditions.py::test_conditions_never_contradict_each_other",
    ),
    row(
        "Ready",
        "copies the others; not touched while deleting; True for a failed job",
        IMPROVED,
        "always there after the first status; False while deleting and for a failed or stopped job",
        "control/test_conditions.py::test_a_failed_job_is_not_ready_and_says_why",
    ),
    row(
        "ACK.Terminal",
        "AWS's error with its request id, without a time",
        IMPROVED,
        "the field as the user wrote it, no request id, a time; absent unless True. Also on a failed or stopped job, and on "
        "whatever else failed, which ACK calls Ready",
        _JOB + "test_an_invalid_spec_that_the_crd_accepted_makes_no_call",
        "control/test_conditions.py::test_a_time_moves_only_with_its_status",
        "control/test_argo.py::test_every_status_of_every_kind",
    ),
    row(
        "the order of conditions",
        "Ready after what it is derived from",
        KEPT,
        "the same, so that Argo CD's built-in check for ACK calls what failed Degraded; conditions of others keep their place",
        "control/test_argo.py::test_the_order_is_acks_and_conditions_of_others_keep_their_place",
        "control/test_argo.py::test_argo_reads_the_order_correctly_whatever_conditions_existed_before",
    ),
    row(
        "the first status",
        "what Describe reports after the create",
        KEPT,
        "the same; where the resource cannot be described within 3 s, what Create answered and the kind's first status value",
        "e2e/test_ack_clients.py::test_the_first_status_has_what_describe_reports",
        "e2e/test_ack_clients.py::test_a_describe_that_fails_costs_neither_the_arn_nor_the_status",
    ),
    row(
        "an update was accepted",
        "status Updating and Synced False for Endpoint and InferenceComponent; Recoverable, or Synced True, for others",
        IMPROVED,
        "status Updating where the kind has one, Synced False; never Recoverable",
        "e2e/test_ack_statuses.py::test_an_endpoint_is_updating_as_soon_as_the_update_was_accepted",
        "e2e/test_ack_statuses.py::test_an_accepted_update_is_never_reported_as_an_error",
    ),
    row(
        "ACK.Recoverable",
        "any other error, and plain waiting",
        KEPT,
        "the same, with what happens next",
        _JOB + "test_a_create_that_the_account_refuses_recovers_without_an_edit",
    ),
    row(
        "ACK.ReferencesResolved",
        "defined by the runtime; no SageMaker field uses it",
        IMPROVED,
        "reported wherever a `…Ref` is used",
        "e2e/test_references.py::test_a_chain_applied_in_any_order_is_created_once_each",
    ),
    row(
        "ACK.Advisory",
        "reason CrossNamespaceOptInRequired",
        IMPROVED,
        "the same; and on an Endpoint whose update keeps the variants' weights and counts (`retainAllVariantProperties`, "
        "true by default as in ACK) although the new configuration has others",
        "e2e/test_ack_statuses.py::test_weights_that_an_update_does_not_apply_are_named_with_the_field_that_decides",
        "e2e/test_field_export.py::test_another_namespace_only_where_it_is_allowed",
    ),
    row(
        "ACK.IAMRoleSelected",
        "role, selector and its version",
        KEPT,
        "the same text",
        "e2e/test_placement.py::test_exactly_one_selector_may_match",
    ),
    row(
        "lastTransitionTime",
        "rewritten at every reconcile, or absent",
        IMPROVED,
        "moves only when the status flips",
        "control/test_conditions.py::test_a_time_moves_only_with_its_status",
        "control/test_conditions.py::test_the_same_findings_change_nothing",
    ),
    row(
        "ACK.Terminal for a failure: Endpoint, InferenceComponent, ModelPackage, MonitoringSchedule, FeatureGroup",
        "`<Kind> status reached terminal state: Failed. Check the FailureReason.`, beside Synced=True",
        IMPROVED,
        "the same message, followed by the reason itself (a model package has no FailureReason to check); Synced is False",
        "e2e/test_kinds_conditions.py::test_a_failure_that_ack_calls_terminal_is_terminal",
    ),
    row(
        "Complete, Failed, Reconciling, Stalled, observedGeneration",
        "none",
        IMPROVED,
        "kstatus and `kubectl wait --for=condition=Complete` work",
        "e2e/test_sandbox_process.py::test_a_job_from_apply_to_delete_with_three_programs",
    ),
)

ANNOTATIONS = (
    row(
        "services.k8s.aws/adoption-policy: adopt",
        "spec overwritten from AWS; not found: an error in the log only",
        IMPROVED,
        "the same; a missing resource is reported in a condition, and never created",
        "e2e/test_adoption.py::test_adopt_takes_the_spec_of_the_resource_and_keeps_the_users_tags",
        "e2e/test_adoption.py::test_a_resource_is_adopted_without_a_mutating_call",
    ),
    row(
        "services.k8s.aws/adoption-policy: adopt-or-create",
        "found: adopted, then Terminal if the spec left a default out",
        IMPROVED,
        "found: adopted and compared with what the spec sets; not found: created",
        "e2e/test_adoption.py::test_a_missing_resource_is_created_only_by_adopt_or_create",
    ),
    row(
        "services.k8s.aws/adoption-fields",
        "a JSON object; Terminal if it is missing or wrong",
        KEPT,
        "the same keys; the condition says which key is missing",
        "control/test_adoption.py::test_the_keys_are_acks",
        "control/test_adoption.py::test_an_invalid_annotation_is_reported_with_what_to_write",
    ),
    row(
        "services.k8s.aws/adopted",
        "a missing resource is never created",
        KEPT,
        "the same, reported in a condition",
        "e2e/test_adoption.py::test_adopted_by_the_user_never_creates",
    ),
    row(
        "services.k8s.aws/read-only",
        "status only; drift is logged",
        IMPROVED,
        "status only; drift is reported in a condition",
        "e2e/test_adoption.py::test_a_read_only_object_only_reads",
        "e2e/test_adoption.py::test_drift_under_read_only_is_reported_until_the_spec_agrees",
    ),
    row(
        "SageMaker's defaults in spec, ACK.LateInitialized",
        "written into spec; False, Synced False and a read every 5 s while one is missing",
        IMPROVED,
        "only with `--write-late-init`: the same fields, once; the condition names what is missing, and nothing waits for it",
        "e2e/test_late_init.py::test_without_the_flag_spec_is_unchanged_and_no_condition_is_set",
        "e2e/test_late_init.py::test_with_the_flag_empty_fields_are_filled_once",
        "e2e/test_late_init.py::test_a_field_that_describe_never_returns_is_named_without_extra_calls",
    ),
    row(
        "an annotation that changes",
        "not noticed until the next timer",
        IMPROVED,
        "noticed at once",
        "e2e/test_adoption.py::test_a_terminal_object_is_adopted_as_soon_as_it_is_annotated",
    ),
    row(
        "services.k8s.aws/deletion-protection",
        "none",
        IMPROVED,
        "any value but `false`: deleting the object waits, and stops or deletes nothing, until the annotation is taken off",
        "e2e/test_ack_statuses.py::test_deletion_protection_keeps_the_resource_until_it_is_taken_off",
    ),
    row(
        "services.k8s.aws/deletion-policy",
        "object, then namespace, then flag; any value but delete retains",
        KEPT,
        "the same; an unknown value retains and is reported",
        "control/test_placement.py::test_deletion_policy",
        "e2e/test_placement.py::test_a_namespaces_policy_is_the_default_of_its_objects",
        _JOB + "test_retain_leaves_the_job_running",
    ),
    row(
        "services.k8s.aws/region, default-region",
        "recorded, object, namespace, flag; a mistake is fixed by the first status; drift is logged only",
        IMPROVED,
        "the same order; recorded with the ARN only, so that a mistake can be corrected; drift is reported in a condition",
        "control/test_placement.py::test_region",
        _JOB + "test_the_region_annotation_decides_until_sagemaker_accepted",
        "e2e/test_placement.py::test_a_region_that_does_not_exist_can_be_fixed_before_anything_is_created",
    ),
    row(
        "services.k8s.aws/owner-account-id, team-id",
        "role from a ConfigMap; a missing one is reported and retried",
        KEPT,
        "the same; never a call under another identity",
        "e2e/test_placement.py::test_two_accounts_and_two_regions_never_meet",
        "control/test_placement.py::test_account_map",
        "control/test_placement.py::test_team_map",
    ),
    row(
        "services.k8s.aws/endpoint-url (namespace)",
        "the endpoint",
        KEPT,
        "the same; plain http needs the flag",
        "control/test_placement.py::test_endpoint_of_the_namespace",
    ),
    row(
        "IAMRoleSelector",
        "one match selects; several: an error in the log",
        IMPROVED,
        "one match selects; several: a condition that names them",
        "e2e/test_placement.py::test_exactly_one_selector_may_match",
        "control/test_placement.py::test_what_a_selector_matches",
    ),
    row(
        "services.k8s.aws/reconcile-requested-at",
        "none",
        IMPROVED,
        "a new value describes the resource now, once; status records when",
        "e2e/test_adoption.py::test_a_reconcile_request_describes_once_and_records_the_time",
    ),
    row(
        "AdoptedResource",
        "gone from newer runtimes; in older ones the object is written whole, and an interrupted adoption stays False",
        IMPROVED,
        "the object is created with adoption's annotations; an interrupted adoption continues; those that ACK "
        "completed are not changed",
        "e2e/test_adopted_resource.py::test_every_kind_is_adopted_without_a_mutating_call",
        "e2e/test_adopted_resource.py::test_a_kill_at_any_call_ends_in_the_same_state",
        "e2e/test_adopted_resource.py::test_adopted_resources_stored_by_ack_are_kept_or_resumed",
    ),
    row(
        "FieldExport",
        "a GET and a LIST at every watch event; the key is left behind",
        IMPROVED,
        "an in-memory index; the key is removed with the export unless it is retained",
        "e2e/test_field_export.py::test_a_field_is_written_when_its_object_is_synced_and_removed_with_the_export",
        "e2e/test_field_export.py::test_a_settled_export_makes_no_calls",
    ),
    row(
        "references",
        "supported by the runtime, used by no field",
        IMPROVED,
        "every field that names another kind has a `…Ref`",
        "e2e/test_references.py::test_a_reference_resolves_to_the_same_value_as_the_name",
    ),
    row(
        "tags",
        "sent at create only, in random order",
        IMPROVED,
        "sent at create, and kept as spec has them; tags of AWS, of services and of other tools stay",
        "e2e/test_tags.py::test_an_edit_of_tags_adds_changes_and_removes_only_its_own",
        "control/test_tags.py::test_only_what_spec_has_or_had_is_touched",
    ),
    row(
        "tags of an object that ACK stored",
        "",
        IMPROVED,
        "compared when the object is next edited, or when `reconcile-requested-at` asks for it, and from then on as all "
        "others: until then `status.managedTagKeys` does not say which are the object's, so the switch makes no call for them. "
        "An edit made while neither operator ran is noticed for all of spec except the tags",
        "e2e/test_quiet_restart.py::test_tags_of_an_ack_object_wait_for_its_next_edit",
    ),
    row(
        "numbers in single precision (variant weights, shares of processors)",
        "its adoption writes 0.8 as 0.800000011920929",
        KEPT,
        "both values are treated as equal",
        "e2e/test_float_members.py::test_the_long_spelling_of_a_float_is_neither_an_edit_nor_drift",
    ),
    row(
        "a PipelineExecution that it adopted",
        "`spec.pipelineName` is the ARN without the pipeline's name",
        KEPT,
        "accepted when a backup brings it back",
        "crds/test_schema.py::test_a_pipeline_execution_that_ack_adopted_is_accepted",
    ),
    row(
        "sagemaker.services.k8s.aws/last-endpoint-config-for-update, last-spec-for-update",
        "what a failed update tried",
        KEPT,
        "the same, read and written",
        "e2e/test_endpoint_rollback.py::test_a_failed_update_has_acks_message_and_is_not_repeated",
    ),
    row(
        "an endpoint in UpdateRollbackFailed",
        "the same update is not sent again; the old configuration in spec is the live one by name: nothing to do",
        IMPROVED,
        "not sent again either; the old configuration written back into spec is deployed again",
        "e2e/test_rare_statuses.py::test_a_failed_rollback_is_reported_and_not_retried_before_an_edit",
        "e2e/test_rare_statuses.py::test_going_back_to_the_old_configuration_recovers_from_a_failed_rollback",
    ),
    row(
        "an endpoint in OutOfService",
        "Synced and Ready are True",
        IMPROVED,
        "not Ready",
        "kinds/test_catalog.py::test_an_endpoint_that_is_out_of_service_is_not_settled_unlike_a_stopped_notebook",
    ),
)

_FLAGS = "cli/test_ack_flags.py::"
_FORMS = _FLAGS + "test_a_flag_fills_its_setting"
_DEFAULTS = _FLAGS + "test_every_flag_of_ack_is_here_with_its_default"

FLAGS = (
    row(
        "`--aws-region`, `--aws-endpoint-url`, `--aws-identity-endpoint-url`",
        "AWS's endpoints; the one for STS is used at the start only",
        IMPROVED,
        "the same; STS's is used for AssumeRole and web identity too; without a flag AWS_ENDPOINT_URL_SAGEMAKER, "
        "AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL and the AWS config file count, as in the SDKs",
        _DEFAULTS,
        "aws/test_endpoints.py::test_the_configured_endpoint_is_the_one_that_botocore_uses",
        "aws/test_endpoints.py::test_every_call_to_sts_goes_to_the_identity_endpoint",
        "e2e/test_placement.py::test_two_accounts_and_two_regions_never_meet",
    ),
    row(
        "`--allow-unsafe-aws-endpoint-urls`",
        "http:// is refused without it",
        KEPT,
        "the same",
        "cli/test_cli.py::test_settings_that_cannot_work_are_refused",
    ),
    row(
        "`--http-client-timeout`",
        "60s",
        IMPROVED,
        "20s; a Go duration as before",
        _FORMS,
    ),
    row(
        "`--watch-namespace`, `--watch-selectors`, `--reconcile-resources`",
        "lists with commas, a label selector; a name that does not exist is ignored",
        IMPROVED,
        "the same, repeatable; an unknown name is an error at the start that suggests the nearest one",
        _FORMS,
        "e2e/test_placement.py::test_an_installation_for_some_namespaces_reads_only_those",
        "e2e/test_start_errors.py::test_a_flag_that_cannot_work_is_named_before_anything_is_asked",
        "e2e/test_start_errors.py::test_a_selector_that_the_server_cannot_parse_is_named",
    ),
    row(
        "`--deletion-policy`",
        "delete",
        KEPT,
        "the same",
        _DEFAULTS,
        "control/test_placement.py::test_deletion_policy",
    ),
    row(
        "`--resource-tags`",
        "two by default, with formats",
        KEPT,
        "the same tags and formats",
        _FLAGS + "test_a_variable_is_written_as_its_flag",
        "control/test_request.py::test_default_tags_expand_and_never_override_the_users",
    ),
    row(
        "`--reconcile-default-resync-seconds`, `--reconcile-resource-resync-seconds`",
        "by kind, else the default, else 10 h",
        KEPT,
        "the same",
        _FORMS,
        "cli/test_cli.py::test_flags_are_acks_and_take_acks_forms",
    ),
    row(
        "`--reconcile-default-max-concurrent-syncs`, `--reconcile-resource-max-concurrent-syncs`",
        "1 worker a kind",
        IMPROVED,
        "16 workers a kind",
        _DEFAULTS,
        "cli/test_cli.py::test_flags_are_acks_and_take_acks_forms",
    ),
    row(
        "`--enable-leader-election`, `--leader-election-namespace`",
        "off",
        IMPROVED,
        "on, with the lease of ACK's name",
        _DEFAULTS,
        _JOB + "test_two_replicas_never_create_twice",
    ),
    row(
        "`--enable-carm`, gates TeamLevelCARM, ServiceLevelCARM, IAMRoleSelector",
        "accounts by namespace; a gate that is unknown is an error",
        KEPT,
        "the same; without CARM no namespaces, maps or selectors are read",
        "e2e/test_placement.py::test_without_carm_no_namespaces_maps_or_selectors_are_read",
        "control/test_placement.py::test_account_map",
        _FLAGS + "test_role_selectors_exclude_carm",
    ),
    row(
        "gates ResourceAdoption, ReadOnlyResources",
        "on",
        KEPT,
        "on; when off, their annotations are ignored",
        "control/test_adoption.py::test_a_disabled_gate_ignores_its_annotations",
        _FLAGS + "test_a_bad_value_is_wrong_usage",
    ),
    row(
        "`--enable-cross-namespace`",
        "on",
        KEPT,
        "on, for references, exports and adopted resources",
        "e2e/test_references.py::test_another_namespace_by_flag",
        "e2e/test_field_export.py::test_another_namespace_only_where_it_is_allowed",
    ),
    row(
        "`--enable-field-export-reconciler`",
        "on; needs the CRD",
        KEPT,
        "on; without the CRD or the role only this feature is off, and a log line says so",
        "e2e/test_field_export.py::test_switched_off_no_request_is_made",
        "e2e/test_field_export.py::test_without_its_crd_only_this_feature_is_missing",
    ),
    row(
        "`--enable-adopted-resource-reconciler`",
        "on, in the versions that have AdoptedResource",
        KEPT,
        "on; without the CRD or the role only this feature is off, and a log line says so",
        "e2e/test_adopted_resource.py::test_adopted_resources_are_ignored_when_switched_off",
        "e2e/test_adopted_resource.py::test_without_its_crd_only_this_feature_is_missing",
        "e2e/test_adopted_resource.py::test_without_the_right_to_create_it_says_which_file_is_missing",
    ),
    row(
        "`--metrics-addr`, `--healthz-addr`",
        "8080, 8081",
        KEPT,
        "the same; 0 turns one off",
        "cli/test_cli.py::test_addresses",
        "e2e/test_start_errors.py::test_a_port_that_is_taken_is_named",
    ),
    row(
        "`--log-level`, `--enable-development-logging`",
        "zap's levels; text",
        KEPT,
        "the same values",
        _FORMS,
    ),
    row(
        "`--enable-webhook-server`, `--webhook-server-addr`, `--aws-endpoint-use-path-style`",
        "there are no webhooks; path-style URLs are for S3",
        KEPT,
        "accepted without effect; a line in the log says so",
        _FLAGS + "test_a_flag_without_effect_says_so_in_the_log",
    ),
    row(
        "the arguments, variables and program that ACK's chart renders",
        "every value is passed, the empty ones too; `./bin/controller`",
        KEPT,
        "accepted unchanged; the image has that program",
        _FLAGS + "test_the_arguments_of_acks_chart_are_understood",
        _FLAGS + "test_acks_chart_with_everything_set",
        _FLAGS + "test_an_empty_value_counts_as_unset",
        _FLAGS + "test_the_image_has_acks_program",
    ),
    row(
        "a configuration file",
        "none",
        IMPROVED,
        "`--config`, below the environment and the flags",
        "cli/test_config_file.py::test_a_flag_wins_over_a_variable_and_a_variable_over_the_file",
    ),
)

_METRICS = "e2e/test_metrics.py::"

METRICS = (
    row(
        "controller-runtime's, client-go's and the process's names",
        "as those libraries define them; not documented",
        KEPT,
        "the same names, labels and buckets, all of them in [a table](metrics.md); `python_…` in place of `go_…`",
        _METRICS + "test_every_documented_name_is_exported_with_its_type_and_labels_and_no_other",
        _METRICS + "test_counts_equal_those_of_the_two_servers",
    ),
    row(
        "`ack_outbound_api_requests_total`, `ack_outbound_api_requests_error_total`",
        "`status_code` is the SDK's fault enum",
        IMPROVED,
        "the same names and labels; `status_code` is HTTP's",
        "metrics/test_counters.py::test_every_attempt_of_a_read_is_a_request",
        "metrics/test_counters.py::test_ack_names_the_types_of_operations",
    ),
    row(
        "which object has a problem",
        "no metric says so",
        IMPROVED,
        "objects by state, and with `--enable-object-metrics` one series per object",
        _METRICS + "test_objects_are_counted_by_state_and_named_only_on_request",
        _METRICS + "test_the_number_of_series_does_not_grow_with_objects",
    ),
)

EVENTS = (
    row(
        "throttled",
        "three attempts, then Recoverable and the finalizer removed",
        IMPROVED,
        "no condition changes for two minutes, then Recoverable (`Throttled`), reported once; the call waits for its slot, and its "
        "worker is free meanwhile",
        _JOB + "test_a_burst_of_throttling_never_shows_in_a_condition",
        _KINDS + "bad_input.py::test_throttling_for_minutes_is_reported_once_and_recovers",
    ),
    row(
        "ValidationException at create",
        "Recoverable, retried indefinitely with five writes each",
        IMPROVED,
        "Terminal with the field's name; tried again after an edit or within the hour",
        _KINDS + "bad_input.py::test_a_bad_value_under_acks_crds_is_named_and_recovers_with_the_edit",
    ),
    row(
        "an enum value that is newer than this version",
        "sent to SageMaker",
        KEPT,
        "refused at apply by `manifests/crds`; `sagemaker-operator crds --relaxed` prints CRDs that check what ACK's check, "
        "and then it is sent to SageMaker. An empty value of an enum is left out, as ACK leaves it out",
        "control/test_request.py::test_an_unknown_enum_value_is_passed_to_sagemaker",
        "aws/test_translate.py::test_an_empty_enum_value_is_omitted_and_an_empty_text_is_sent",
        "crds/test_schema.py::test_relaxed_checks_what_ack_checks_and_no_more",
    ),
    row(
        "the resource exists and is not ours",
        "Terminal `Resource already exists`",
        KEPT,
        "the same message first, then what to do; no finalizer; deleting the object touches nothing, and a restart describes it "
        "and writes nothing",
        "e2e/test_ack_statuses.py::test_a_name_that_is_taken_costs_no_write_and_no_create_at_a_restart",
        _KINDS + "bad_input.py::test_a_foreign_resource_of_this_name_is_never_touched",
        _JOB + "test_a_name_that_somebody_else_uses_is_not_taken_over",
    ),
    row(
        "the reply of a create is lost",
        "Terminal, and the resource is an orphan or is adopted silently after a restart",
        IMPROVED,
        "the resource is found by its tag or token",
        _KINDS + "crash.py::test_a_lost_reply_of_the_create_leaves_one_resource",
        _KINDS + "crash.py::test_a_lost_reply_and_a_restart_leave_one_resource",
    ),
    row(
        "a backup brings a PipelineExecution, a Domain or a model package version back without its status",
        "run or created a second time",
        IMPROVED,
        "the resource is found by an annotation that the backup keeps",
        "e2e/test_restored_backup.py::test_a_restored_object_finds_its_resource",
    ),
    row(
        "the resource vanished",
        "created again; a job runs a second time",
        IMPROVED,
        "created again, but a job never, and an App only after an edit or a request: users close apps in Studio",
        "e2e/test_ack_statuses.py::test_an_app_that_was_closed_in_studio_stays_closed_until_its_user_asks_for_it",
        _JOB + "test_a_job_that_vanished_is_not_run_again",
    ),
    row(
        "a deployment that failed",
        "Terminal `api error EndpointUpdateError: ...` or `api error InferenceComponentUpdateError: ...`",
        IMPROVED,
        "the same message, with the reason DeploymentFailed; Ready adds what to do and SageMaker's cause",
        "e2e/test_ack_statuses.py::test_a_deployment_that_was_rolled_back_has_acks_message_and_says_what_to_do",
        "e2e/test_ack_statuses.py::test_an_endpoint_that_failed_at_creation_says_how_to_recover_and_keeps_the_cause",
    ),
    row(
        "another finalizer holds a deleted object",
        "`Deleting` indefinitely",
        IMPROVED,
        "a condition: the resource is gone, and which finalizer holds the object",
        "e2e/test_ack_statuses.py::test_an_object_that_another_finalizer_holds_says_so",
    ),
    row(
        "an edit that no update can make",
        "Terminal `not implemented`; polling stops",
        IMPROVED,
        "refused at apply where that is certain, else Terminal with the field's name; polling goes on",
        _KINDS + "scenario.py::test_an_edit_that_sagemaker_cannot_make_is_refused_at_apply",
        _KINDS + "scenario.py::test_an_edit_that_sagemaker_cannot_make_is_named_under_acks_crds",
    ),
    row(
        "a field that Describe does not echo",
        "an endless delta: Terminal, or an update at every resync",
        IMPROVED,
        "not compared; an update without effect stops after two tries with the field's name",
        _PLAN + "test_an_update_without_effect_ends_with_the_fields_name",
        _KINDS + "convergence.py::test_five_more_reconciles_change_nothing",
    ),
    row(
        "drift of an updatable kind",
        "updated at the next resync",
        KEPT,
        "the same; only what the spec sets counts",
        _KINDS + "scenario.py::test_an_edit_reaches_sagemaker_once",
    ),
    row(
        "deletion of an object",
        "the spec is rewritten from AWS first; Ready stays True",
        IMPROVED,
        "the spec is never written; Ready is False",
        _JOB + "test_deleting_a_running_job_stops_it_and_waits",
        _KINDS + "ack_corpus.py::test_an_ack_object_is_deleted_as_ack_would",
    ),
    row(
        "a restart",
        "one full reconcile of every object, status written",
        IMPROVED,
        "finished and settled objects cost nothing",
        _KINDS + "convergence.py::test_a_restart_over_a_converged_object_changes_nothing",
    ),
    row(
        "two controllers at once",
        "leader election off by default",
        IMPROVED,
        "on by default, fenced before every change, and on ACK's own lease",
        _JOB + "test_two_replicas_never_create_twice",
    ),
)
