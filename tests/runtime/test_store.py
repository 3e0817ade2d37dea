from __future__ import annotations

import msgspec

from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.runtime.store import Change, Store


def new(
    name: str,
    version: int | str,
    *,
    uid: str = "u1",
    namespace: str = "ns",
    deleting: bool = False,
    finalizers: tuple[str, ...] = ("keep",),
) -> KubeObject:
    return KubeObject(
        api_version="sagemaker.services.k8s.aws/v1alpha1",
        kind="Model",
        metadata=Meta(
            name=name,
            namespace=namespace,
            uid=uid,
            resource_version=str(version),
            deletion_timestamp="2026-11-24T00:00:00Z" if deleting else None,
            finalizers=finalizers,
        ),
        spec=msgspec.Raw(b"{}"),
    )


def listed(*objects: KubeObject, at: int, namespaces: tuple[str, ...] = ()) -> Store:
    store = Store(namespaces)
    for namespace in namespaces or (None,):
        store.replace(objects, str(at), namespace=namespace)
    return store


# The watch


def test_an_object_that_the_watch_brings_is_read_back() -> None:
    store = listed(at=1)
    first = new("a", 2)
    assert store.apply(first) == Change(None, first)
    second = new("a", 3)
    assert store.apply(second) == Change(first, second)
    assert store.get("ns", "a") is second
    assert store.get("other", "a") is None
    assert list(store.keys()) == [("ns", "a")]
    assert list(store.items()) == [(("ns", "a"), second)]
    assert len(store) == 1


def test_an_older_or_equal_state_is_dropped() -> None:
    current = new("a", 10)
    store = listed(current, at=10)
    assert store.apply(new("a", 10)) is None
    assert store.apply(new("a", 9)) is None
    assert store.get("ns", "a") is current


def test_versions_compare_as_numbers_and_not_as_text() -> None:
    store = listed(new("a", 9), at=9)
    assert store.apply(new("a", 10)) is not None
    assert store.apply(new("a", 9)) is None


def test_an_object_created_again_replaces_its_predecessor() -> None:
    old, recreated = new("a", 5, uid="u1"), new("a", 8, uid="u2")
    store = listed(old, at=5)
    assert store.apply(recreated) == Change(old, recreated)
    assert store.apply(new("a", 7, uid="u1")) is None
    assert store.get("ns", "a") is recreated


def test_a_deletion_removes_the_object_and_returns_what_was_cached() -> None:
    cached = new("a", 5)
    store = listed(cached, at=5)
    assert store.delete(new("a", 6)) is cached
    assert store.get("ns", "a") is None
    assert store.delete(new("a", 6)) is None


def test_a_deletion_by_key_needs_no_version() -> None:
    cached = new("a", 5)
    store = listed(cached, at=5)
    assert store.delete(cached.key) is cached
    assert len(store) == 0


def test_a_deletion_older_than_the_object_belongs_to_its_predecessor() -> None:
    recreated = new("a", 8, uid="u2")
    store = listed(recreated, at=8)
    assert store.delete(new("a", 7, uid="u1")) is None
    assert store.delete(recreated.key, 7) is None
    assert store.get("ns", "a") is recreated


def test_a_repeated_event_from_before_a_deletion_does_not_bring_the_object_back() -> None:
    store = listed(new("a", 5), at=5)
    store.delete(new("a", 6))
    assert store.apply(new("a", 5)) is None
    assert store.apply(new("a", 6)) is None
    assert len(store) == 0
    assert store.apply(new("a", 7, uid="u2")) is not None


# Lists


def test_a_list_reports_creations_updates_and_deletions_only() -> None:
    same, before, gone = new("same", 1), new("changed", 2), new("gone", 3)
    store = listed(same, before, gone, at=3)
    after, created = new("changed", 5), new("created", 6)
    changes = store.replace([new("same", 1), after, created], "6")
    assert changes == [Change(before, after), Change(None, created), Change(gone, None)]
    assert set(store.keys()) == {("ns", "same"), ("ns", "changed"), ("ns", "created")}


def test_a_list_does_not_remove_what_we_have_written_since() -> None:
    store = listed(at=5)
    written = new("a", 9)
    store.apply_own_write(written)
    assert store.replace([], "8") == []
    assert store.get("ns", "a") is written
    assert store.replace([], "9") == [Change(written, None)]


def test_a_list_does_not_undo_what_we_have_written_since() -> None:
    store = listed(new("a", 5), at=5)
    written = new("a", 9)
    store.apply_own_write(written)
    assert store.replace([new("a", 5)], "8") == []
    assert store.get("ns", "a") is written


def test_a_list_that_is_older_than_the_watch_changes_nothing() -> None:
    kept, deleted = new("kept", 9), new("deleted", 5)
    store = listed(deleted, at=5)
    store.apply(kept)
    store.delete(new("deleted", 10))
    assert store.replace([deleted], "7") == []
    assert list(store.items()) == [(("ns", "kept"), kept)]


def test_a_list_that_is_older_than_the_last_event_removes_nothing() -> None:
    store = listed(new("a", 5), at=5)
    store.apply(new("b", 9))
    assert store.replace([new("b", 6)], "7") == []
    assert len(store) == 2


def test_an_object_missing_from_a_list_is_not_restored_by_older_events() -> None:
    store = listed(new("a", 5), at=5)
    store.replace([], "9")
    assert store.apply(new("a", 8)) is None
    assert store.apply(new("b", 10)) is not None


# Own writes


def test_a_read_after_our_own_write_sees_it_and_the_echo_is_dropped() -> None:
    before = new("a", 5)
    store = listed(before, at=5)
    written = new("a", 8)
    assert store.apply_own_write(written) == Change(before, written)
    assert store.apply(new("a", 7)) is None, "an event from before the write"
    assert store.apply(new("a", 8)) is None, "the echo"
    assert store.get("ns", "a") is written
    assert store.apply(new("a", 9)) is not None


def test_the_answer_to_a_write_that_the_watch_has_overtaken_is_dropped() -> None:
    store = listed(new("a", 5), at=5)
    newer = new("a", 9)
    store.apply(newer)
    assert store.apply_own_write(new("a", 8)) is None
    assert store.get("ns", "a") is newer


def test_an_own_write_does_not_bring_back_what_the_watch_has_deleted() -> None:
    store = listed(new("a", 5), at=5)
    store.delete(new("a", 9))
    assert store.apply_own_write(new("a", 8)) is None
    assert len(store) == 0


def test_removing_the_last_finalizer_of_a_deleted_object_removes_it() -> None:
    cached = new("a", 5, deleting=True)
    store = listed(cached, at=5)
    # An API server answers this patch with the version before it.
    assert store.apply_own_write(new("a", 5, deleting=True, finalizers=())) == Change(cached, None)
    assert len(store) == 0


def test_late_events_of_a_removed_object_do_not_bring_it_back() -> None:
    store = listed(new("a", 5, deleting=True), at=5)
    store.apply_own_write(new("a", 9, deleting=True, finalizers=()))
    assert store.apply(new("a", 7, deleting=True)) is None
    assert store.replace([new("a", 7, deleting=True)], "8") == []
    assert store.apply_own_write(new("a", 9, deleting=True)) is None
    assert len(store) == 0
    assert store.delete(new("a", 10)) is None
    recreated = new("a", 12, uid="u2")
    assert store.apply(recreated) == Change(None, recreated)


def test_a_recreated_object_is_stored_before_the_deletion_event_of_the_first() -> None:
    store = listed(new("a", 5, deleting=True), at=5)
    store.apply_own_write(new("a", 5, deleting=True, finalizers=()))
    assert store.apply(new("a", 8, uid="u2")) is not None


def test_a_removed_object_leaves_nothing_once_the_watch_confirms_it() -> None:
    store = listed(new("a", 5, deleting=True), new("b", 5, deleting=True), at=5)
    for name in ("a", "b"):
        store.apply_own_write(new(name, 5, deleting=True, finalizers=()))
    store.delete(new("a", 6))
    assert set(store._removed) == {("ns", "b")}
    store.replace([], "7")
    assert not store._removed


def test_the_deletion_of_the_first_object_does_not_remove_its_successor() -> None:
    successor = new("a", 8, uid="u2")
    store = listed(successor, at=8)
    assert store.apply_own_write(new("a", 7, uid="u1", deleting=True, finalizers=())) is None
    assert store.get("ns", "a") is successor


def test_an_object_that_still_has_finalizers_is_not_gone() -> None:
    store = listed(new("a", 5), at=5)
    marked = new("a", 6, deleting=True)
    store.apply_own_write(marked)
    assert store.get("ns", "a") is marked


# Versions that are not numbers


def test_versions_that_are_not_numbers_count_as_newer_unless_repeated() -> None:
    store = listed(new("a", "x1"), at=1)
    assert store.apply(new("a", "x1")) is None
    second = new("a", "x0")
    assert store.apply(second) is not None
    assert store.delete(new("a", "x0")) is second
    assert store.apply(new("a", "x2")) is not None
    assert [change.new for change in store.replace([], "x9")] == [None]


# Several namespaces, each with a watcher of its own


def test_a_list_of_one_namespace_leaves_the_others_alone() -> None:
    one, two = new("a", 3, namespace="one"), new("a", 3, namespace="two")
    store = Store(["one", "two"])
    store.replace([one], "3", namespace="one")
    store.replace([two], "3", namespace="two")
    assert store.replace([], "5", namespace="one") == [Change(one, None)]
    assert store.get("two", "a") is two


def test_a_watcher_that_lags_behind_another_still_reports_changes() -> None:
    store = Store(["one", "two"])
    store.replace([], "3", namespace="one")
    store.replace([], "3", namespace="two")
    store.apply(new("a", 20, namespace="one"))
    assert store.apply(new("b", 10, namespace="two")) is not None
    assert store.replace([new("b", 10, namespace="two"), new("c", 11, namespace="two")], "12", namespace="two") != []


def test_the_store_is_synced_once_everything_was_listed() -> None:
    store = Store()
    assert not store.synced.is_set()
    store.replace([], "1")
    assert store.synced.is_set()

    store = Store(["one", "two"])
    store.replace([], "1", namespace="two")
    store.replace([], "2", namespace="two")
    assert not store.synced.is_set()
    assert "1 lists missing" in repr(store)
    store.replace([], "2", namespace="one")
    assert store.synced.is_set()
    assert repr(store) == "<Store 0 objects, newest 2, synced>"


# Versions that went back: etcd was restored from a backup


def test_a_list_of_a_restored_etcd_replaces_everything() -> None:
    kept, changed, lost = new("kept", 3, uid="k"), new("changed", 9, uid="c"), new("lost", 10, uid="l")
    store = listed(kept, changed, lost, at=10)
    older = new("changed", 4, uid="c")
    back = new("back", 5, uid="b")
    changes = store.replace([kept, older, back], "5", rewound=True)
    assert changes == [Change(lost, None), Change(changed, older), Change(None, back)]
    assert set(store.keys()) == {("ns", "kept"), ("ns", "changed"), ("ns", "back")}
    made = new("made", 6, uid="m")
    assert store.apply(made) == Change(None, made), "versions count from the restored list on"
    edited = new("changed", 7, uid="c")
    assert store.apply(edited) == Change(older, edited)


def test_a_newer_list_is_not_a_restored_etcd_even_if_the_watch_was_refused() -> None:
    """A lagging replica refuses a watch in the same way, and an own write may be newer than the list."""
    own = new("own", 12)
    store = listed(new("own", 9), at=10)
    store.apply_own_write(own)
    assert store.replace([new("own", 9)], "11", rewound=True) == []
    assert store.get("ns", "own") is own


def test_a_restored_etcd_is_noticed_by_each_watched_namespace_alone() -> None:
    here, there = new("a", 9, namespace="one"), new("a", 9, namespace="two", uid="u2")
    store = Store(("one", "two"))
    store.replace([here], "10", namespace="one")
    store.replace([there], "10", namespace="two")
    assert store.replace([], "5", namespace="one", rewound=True) == [Change(here, None)]
    assert store.get("two", "a") is there
