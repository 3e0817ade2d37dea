package main

import (
	"context"
	"errors"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	server "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/client-go/kubernetes"
)

// A coreType is a built-in type as the generic registry stores it. Its versioned Go type stands for the internal one
// too, so that no conversion is needed.
type coreType struct {
	version       schema.GroupVersion
	resource      string
	object, list  func() runtime.Object
	clusterScoped bool
	shortName     string
	complete      func(runtime.Object)
	secondsToLive uint64
}

// An hour, as in a cluster.
const eventSeconds = 3600

var (
	scheme = runtime.NewScheme()
	codecs = serializer.NewCodecFactory(scheme)

	coreTypes = []coreType{
		{
			version: corev1.SchemeGroupVersion, resource: "namespaces", shortName: "ns", clusterScoped: true,
			object:   func() runtime.Object { return &corev1.Namespace{} },
			list:     func() runtime.Object { return &corev1.NamespaceList{} },
			complete: func(object runtime.Object) { object.(*corev1.Namespace).Status.Phase = corev1.NamespaceActive },
		},
		{
			version: corev1.SchemeGroupVersion, resource: "configmaps", shortName: "cm",
			object: func() runtime.Object { return &corev1.ConfigMap{} },
			list:   func() runtime.Object { return &corev1.ConfigMapList{} },
		},
		{
			version: corev1.SchemeGroupVersion, resource: "secrets",
			object:   func() runtime.Object { return &corev1.Secret{} },
			list:     func() runtime.Object { return &corev1.SecretList{} },
			complete: completeSecret,
		},
		{
			version: corev1.SchemeGroupVersion, resource: "serviceaccounts", shortName: "sa",
			object: func() runtime.Object { return &corev1.ServiceAccount{} },
			list:   func() runtime.Object { return &corev1.ServiceAccountList{} },
		},
		{
			version: corev1.SchemeGroupVersion, resource: "events", shortName: "ev", secondsToLive: eventSeconds,
			object: func() runtime.Object { return &corev1.Event{} },
			list:   func() runtime.Object { return &corev1.EventList{} },
		},
		{
			version: eventsv1.SchemeGroupVersion, resource: "events", secondsToLive: eventSeconds,
			object: func() runtime.Object { return &eventsv1.Event{} },
			list:   func() runtime.Object { return &eventsv1.EventList{} },
		},
		{
			version: coordinationv1.SchemeGroupVersion, resource: "leases",
			object: func() runtime.Object { return &coordinationv1.Lease{} },
			list:   func() runtime.Object { return &coordinationv1.LeaseList{} },
		},
	}
)

func init() {
	label := func(label, value string) (string, string, error) { return label, value, nil }
	err := errors.Join(
		corev1.AddToScheme(scheme), eventsv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme),
		scheme.AddFieldLabelConversionFunc(corev1.SchemeGroupVersion.WithKind("Event"), label),
	)
	if err != nil {
		panic(err)
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	for _, known := range coreTypes {
		internal := schema.GroupVersion{Group: known.version.Group, Version: runtime.APIVersionInternal}
		scheme.AddKnownTypes(internal, known.object(), known.list())
	}
}

func completeSecret(object runtime.Object) {
	secret := object.(*corev1.Secret)
	for key, value := range secret.StringData {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[key] = []byte(value)
	}
	secret.StringData = nil
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
}

func coreVersions() []schema.GroupVersion {
	return []schema.GroupVersion{corev1.SchemeGroupVersion, coordinationv1.SchemeGroupVersion, eventsv1.SchemeGroupVersion}
}

func namespacedCore() []schema.GroupVersionResource {
	var found []schema.GroupVersionResource
	for _, known := range coreTypes {
		if !known.clusterScoped {
			found = append(found, known.version.WithResource(known.resource))
		}
	}
	return found
}

// installCore serves the types; purge empties a deleted namespace.
func installCore(core *server.GenericAPIServer, getter generic.RESTOptionsGetter, purge func(string)) error {
	groups := map[string]*server.APIGroupInfo{}
	for _, known := range coreTypes {
		info := groups[known.version.Group]
		if info == nil {
			made := server.NewDefaultAPIGroupInfo(known.version.Group, scheme, metav1.ParameterCodec, codecs)
			made.PrioritizedVersions = []schema.GroupVersion{known.version}
			made.VersionedResourcesStorageMap[known.version.Version] = map[string]rest.Storage{}
			info, groups[known.version.Group] = &made, &made
		}
		stored, err := newStore(known, getter, purge)
		if err != nil {
			return err
		}
		info.VersionedResourcesStorageMap[known.version.Version][known.resource] = stored
	}
	for group, info := range groups {
		install := core.InstallAPIGroup
		if group == "" {
			install = func(info *server.APIGroupInfo) error { return core.InstallLegacyAPIGroup(server.DefaultLegacyAPIPrefix, info) }
		}
		if err := install(info); err != nil {
			return err
		}
	}
	return nil
}

// createNamespaces waits until the server takes them: the hook runs before it does.
func createNamespaces(ctx context.Context, clients kubernetes.Interface, all ...string) error {
	for _, each := range all {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: each}}
		for {
			_, err := clients.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
			if err == nil || apierrors.IsAlreadyExists(err) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

type store struct {
	*registry.Store
	shortNames []string
}

func (s store) ShortNames() []string { return s.shortNames }

func newStore(known coreType, getter generic.RESTOptionsGetter, purge func(string)) (rest.Storage, error) {
	rules := strategy{scheme, names.SimpleNameGenerator, known}
	resource := known.version.WithResource(known.resource).GroupResource()
	stored := &registry.Store{
		NewFunc: known.object, NewListFunc: known.list,
		PredicateFunc: func(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
			return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attributes}
		},
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Group: resource.Group, Resource: strings.TrimSuffix(resource.Resource, "s")},
		CreateStrategy:            rules, UpdateStrategy: rules, DeleteStrategy: rules,
		TableConvertor: rest.NewDefaultTableConvertor(resource),
	}
	if known.resource == "namespaces" {
		stored.AfterDelete = func(gone runtime.Object, _ *metav1.DeleteOptions) { go purge(gone.(*corev1.Namespace).Name) }
	}
	if resource == (schema.GroupResource{Resource: "events"}) {
		stored.TableConvertor = eventTable{stored.TableConvertor}
	}
	if known.secondsToLive > 0 {
		stored.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return known.secondsToLive, nil }
	}
	var shortNames []string
	if known.shortName != "" {
		shortNames = []string{known.shortName}
	}
	return store{stored, shortNames}, stored.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter, AttrFunc: attributes})
}

// attributes are what selectors may select by.
func attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil, nil, err
	}
	found := fields.Set{"metadata.name": accessor.GetName(), "metadata.namespace": accessor.GetNamespace()}
	if event, ok := object.(*corev1.Event); ok {
		about := event.InvolvedObject
		found["involvedObject.kind"], found["involvedObject.apiVersion"] = about.Kind, about.APIVersion
		found["involvedObject.name"], found["involvedObject.namespace"] = about.Name, about.Namespace
		found["involvedObject.uid"] = string(about.UID)
		found["reason"], found["type"] = event.Reason, event.Type
	}
	return labels.Set(accessor.GetLabels()), found, nil
}

// A strategy checks nothing beyond decoding and metadata.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	known coreType
}

func (s strategy) NamespaceScoped() bool { return !s.known.clusterScoped }
func (s strategy) PrepareForCreate(_ context.Context, object runtime.Object) {
	s.completed(object)
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetGeneration(0)
	}
}
func (s strategy) PrepareForUpdate(_ context.Context, object, _ runtime.Object) { s.completed(object) }
func (s strategy) completed(object runtime.Object) {
	if s.known.complete != nil {
		s.known.complete(object)
	}
}
func (s strategy) Validate(context.Context, runtime.Object) field.ErrorList { return nil }
func (s strategy) ValidateUpdate(context.Context, runtime.Object, runtime.Object) field.ErrorList {
	return nil
}
func (s strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (s strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
func (s strategy) Canonicalize(runtime.Object) {}
func (s strategy) AllowCreateOnUpdate() bool {
	return s.known.resource == "leases" || s.known.resource == "events"
}
func (s strategy) AllowUnconditionalUpdate() bool { return true }

// An eventTable has the columns of `kubectl get events`.
type eventTable struct{ rest.TableConvertor }

func (t eventTable) ConvertToTable(ctx context.Context, object, options runtime.Object) (*metav1.Table, error) {
	var events []corev1.Event
	table := &metav1.Table{}
	switch found := object.(type) {
	case *corev1.Event:
		events, table.ResourceVersion = []corev1.Event{*found}, found.ResourceVersion
	case *corev1.EventList:
		events, table.ListMeta = found.Items, found.ListMeta
	default:
		return t.TableConvertor.ConvertToTable(ctx, object, options)
	}
	for _, column := range []string{"Last Seen", "Type", "Reason", "Object", "Message"} {
		table.ColumnDefinitions = append(table.ColumnDefinitions, metav1.TableColumnDefinition{Name: column, Type: "string"})
	}
	for i := range events {
		event := &events[i]
		seen := event.LastTimestamp.Time
		if seen.IsZero() {
			seen = event.CreationTimestamp.Time
		}
		about := strings.ToLower(event.InvolvedObject.Kind) + "/" + event.InvolvedObject.Name
		table.Rows = append(table.Rows, metav1.TableRow{
			Object: runtime.RawExtension{Object: event},
			Cells:  []any{duration.HumanDuration(time.Since(seen)), event.Type, event.Reason, about, strings.TrimSpace(event.Message)},
		})
	}
	return table, nil
}
