from __future__ import annotations

import pytest

from sagemaker_operator.kinds.model import Shape, name_parts, operation, service_model
from sagemaker_operator.kinds.naming import field_name, field_path, type_name
from tests.kinds.facts import ACK_FIELDS

_CREATE = operation("CreateTrainingJob").input_shape


def test_every_name_is_the_one_that_ack_uses() -> None:
    wrong = [
        (shape, member, field_name(member), field)
        for shape, members in ACK_FIELDS["members"].items()
        for member, field in members.items()
        if field_name(member) != field
    ]
    assert wrong == []
    assert sum(map(len, ACK_FIELDS["members"].values())) == 1086


@pytest.mark.parametrize(
    ("member", "field"),
    [
        # Of kinds that ACK's controller for SageMaker lacks, by the rule of its code generator.
        ("AIWorkloadConfigName", "aIWorkloadConfigName"),
        ("AwsManagedHumanLoopRequestSource", "awsManagedHumanLoopRequestSource"),
        ("Cidrs", "cidrs"),
        ("DnsName", "dnsName"),
        ("EnableIotRoleAlias", "enableIOtRoleAlias"),
        ("IotRoleAlias", "iotRoleAlias"),
        ("HumanTaskUiArn", "humanTaskUIARN"),
        ("IdcConfig", "idcConfig"),
        ("OidcConfig", "oidcConfig"),
        ("S3Uris", "s3URIs"),
        ("SourceIpConfig", "sourceIPConfig"),
        ("IdleResourceSharing", "idleResourceSharing"),
    ],
)
def test_other_names_are_those_that_ack_would_generate(member: str, field: str) -> None:
    assert field_name(member) == field


def test_a_kind_is_spelled_as_ack_would_spell_it() -> None:
    spelled = ("HumanTaskUi", "AutoMLJobV2", "AIWorkloadConfig", "MlflowApp", "NotebookInstance")
    assert [type_name(name) for name in spelled] == ["HumanTaskUI", *spelled[1:]]


def test_every_field_of_ack_leads_back_to_its_member() -> None:
    known = set(service_model().shape_names)
    for shape, members in ACK_FIELDS["members"].items():
        assert shape in known
        known_members = service_model().shape_for(shape).members
        assert {field_name(member): member for member in known_members}.items() >= {
            (field, member) for member, field in members.items()
        }


def test_no_two_members_of_a_structure_share_a_field() -> None:
    structures = [shape for name in service_model().shape_names if (shape := _structure(name)) is not None]
    assert len(structures) > 1000
    for shape in structures:
        assert len(set(map(field_name, shape.members))) == len(shape.members), shape.name


def _structure(name: str) -> Shape | None:
    shape = service_model().shape_for(name)
    return shape if shape.type_name == "structure" else None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("HomeEfsFileSystemKmsKeyId", ("Home", "Efs", "File", "System", "Kms", "Key", "Id")),
        ("EFSFileSystem", ("EFS", "File", "System")),
        ("Ec2CapacityReservationId", ("Ec2", "Capacity", "Reservation", "Id")),
        ("S3Uri", ("S", "3", "Uri")),
        ("VolumeSizeInGB", ("Volume", "Size", "In", "GB")),
    ],
)
def test_a_name_is_split_into_words(name: str, parts: tuple[str, ...]) -> None:
    assert name_parts(name) == parts


def test_splitting_loses_no_letter_of_any_member() -> None:
    for name in service_model().shape_names:
        for member in getattr(service_model().shape_for(name), "members", ()):
            assert "".join(name_parts(member)) == member


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("OutputDataConfig.S3OutputPath", "spec.outputDataConfig.s3OutputPath"),
        ("RoleArn", "spec.roleARN"),
        ("InputDataConfig[].DataSource.S3DataSource.S3Uri", "spec.inputDataConfig[].dataSource.s3DataSource.s3URI"),
        ("InputDataConfig[2].ChannelName", "spec.inputDataConfig[2].channelName"),
        ("InputDataConfig.ChannelName", "spec.inputDataConfig.channelName"),
        ("InputDataConfig", "spec.inputDataConfig"),
        ("Tags[]", "spec.tags[]"),
        # The constraint reports of AWS.
        ("trainingJobName", "spec.trainingJobName"),
        ("resourceConfig.instanceCount", "spec.resourceConfig.instanceCount"),
        ("inputDataConfig.1.member.channelName", "spec.inputDataConfig[0].channelName"),
        ("vpcConfig.subnets.2.member", "spec.vpcConfig.subnets[1]"),
        # A map's keys stay out of messages, and what is unknown ends the path.
        ("Environment.SECRET_NAME", "spec.environment"),
        ("environment.SECRET.member", "spec.environment"),
        ("ResourceConfig.Future.Deep", "spec.resourceConfig"),
        ("", "spec"),
    ],
)
def test_an_api_path_is_shown_as_the_user_wrote_it(path: str, expected: str) -> None:
    assert field_path(_CREATE, path) == expected
