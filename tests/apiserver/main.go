// A Kubernetes API server for this project's tests, in one process and on loopback only: the real
// apiextensions-apiserver for custom resources, the few core types that an operator touches (core.go), and etcd.
//
//	apiserver [-compaction 4s] [-watch-cache=false] DIR
//
// DIR gets etcd/, certs/ and, when the port is open, kubeconfig. It is not a cluster: whoever has the token may do
// everything (no RBAC), there are no admission webhooks, no controllers and no garbage collection.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"apiserver/openapi"

	restful "github.com/emicklei/go-restful/v3"
	"go.etcd.io/etcd/server/v3/embed"
	noop "go.opentelemetry.io/otel/trace/noop"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	openapiv2 "k8s.io/apiextensions-apiserver/pkg/controller/openapi"
	openapiv3 "k8s.io/apiextensions-apiserver/pkg/controller/openapiv3"
	apiextopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	discovery "k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	server "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/util/feature"
	utilopenapi "k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/common/restfuladapter"
)

const name = "apiserver"

func main() {
	compaction := flag.Duration("compaction", 5*time.Minute, "how often etcd's history is compacted; 4s provokes 410 Gone")
	watchCache := flag.Bool("watch-cache", true, "serve watches from memory, as a cluster does")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(server.SetupSignalContext(), flag.Arg(0), *compaction, *watchCache); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, compaction time.Duration, watchCache bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	etcdURL, stopEtcd, err := startEtcd(filepath.Join(dir, "etcd"))
	if err != nil {
		return err
	}
	defer stopEtcd()
	// The server never has to guess a free port: it gets a listener on one.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	token, err := newToken()
	if err != nil {
		return err
	}

	options := genericoptions.NewRecommendedOptions("/registry", codecs.LegacyCodec(coreVersions()...))
	options.Etcd.StorageConfig.Transport.ServerList = []string{etcdURL}
	options.Etcd.StorageConfig.CompactionInterval = compaction
	options.Etcd.EnableWatchCache = watchCache
	options.SecureServing.Listener = listener
	options.SecureServing.BindAddress = net.ParseIP("127.0.0.1")
	options.SecureServing.BindPort = listener.Addr().(*net.TCPAddr).Port
	options.SecureServing.ServerCert.CertDirectory = filepath.Join(dir, "certs")
	options.Features.EnablePriorityAndFairness = false
	// Webhooks and policies need types that are not served here. Namespace life cycle stays on.
	options.Admission.DisablePlugins = []string{
		"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook",
	}
	if err := options.SecureServing.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.ParseIP("127.0.0.1")}); err != nil {
		return err
	}

	outer, err := newConfig(options, token)
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(outer.LoopbackClientConfig)
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(outer.LoopbackClientConfig)
	if err != nil {
		return err
	}
	outer.SharedInformerFactory = informers.NewSharedInformerFactory(clients, 10*time.Minute)
	if err := options.Admission.ApplyTo(&outer.Config, outer.SharedInformerFactory, clients, objects, feature.DefaultFeatureGate, outer.EffectiveVersion); err != nil {
		return err
	}
	custom, err := newCustomResources(outer, *options.Etcd)
	if err != nil {
		return err
	}
	core, err := outer.Complete().New(name, custom.GenericAPIServer)
	if err != nil {
		return err
	}
	definitions := custom.Informers.Apiextensions().V1().CustomResourceDefinitions()
	purge := func(namespace string) {
		// A cluster's namespace controller does this, with a Terminating phase before.
		targets := namespacedCore()
		found, _ := definitions.Lister().List(labels.Everything())
		for _, crd := range found {
			if crd.Spec.Scope == apiextv1.NamespaceScoped {
				targets = append(targets, schema.GroupVersionResource{
					Group: crd.Spec.Group, Version: crd.Spec.Versions[0].Name, Resource: crd.Spec.Names.Plural,
				})
			}
		}
		for _, target := range targets {
			_ = objects.Resource(target).Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}
	}
	if err := installCore(core, outer.RESTOptionsGetter, purge); err != nil {
		return err
	}

	announce(core, apiextv1.GroupName, []string{"v1"})
	crdsChanged := func(any) {
		found, _ := definitions.Lister().List(labels.Everything())
		announceGroups(core, found)
	}
	handlers := cache.ResourceEventHandlerFuncs{
		AddFunc: crdsChanged, UpdateFunc: func(_, now any) { crdsChanged(now) }, DeleteFunc: crdsChanged,
	}
	if _, err := definitions.Informer().AddEventHandler(handlers); err != nil {
		return err
	}
	core.AddPostStartHookOrDie("custom-resource-openapi", func(hook server.PostStartHookContext) error {
		// The definitions' own API is the delegate's; explain and kubectl's validation read it from the outer server.
		for _, service := range custom.GenericAPIServer.Handler.GoRestfulContainer.RegisteredWebServices() {
			if !strings.HasPrefix(service.RootPath(), "/apis/") {
				continue
			}
			spec, err := builder3.BuildOpenAPISpecFromRoutes(restfuladapter.AdaptWebServices([]*restful.WebService{service}), outer.OpenAPIV3Config)
			if err != nil {
				return err
			}
			core.OpenAPIV3VersionedService.UpdateGroupVersion(service.RootPath()[1:], spec)
		}
		go openapiv2.NewController(definitions).Run(core.StaticOpenAPISpec, core.OpenAPIVersionedService, hook.Done())
		go openapiv3.NewController(definitions).Run(core.OpenAPIV3VersionedService, hook.Done())
		return nil
	})
	core.AddPostStartHookOrDie("namespaces", func(hook server.PostStartHookContext) error {
		return createNamespaces(hook, clients, "default", "kube-system")
	})
	if err := writeKubeconfig(filepath.Join(dir, "kubeconfig"), listener.Addr().String(), options.SecureServing.ServerCert.CertKey.CertFile, token); err != nil {
		return err
	}
	return core.PrepareRun().RunWithContext(ctx)
}

// startEtcd runs a single member whose peer address nobody ever dials.
func startEtcd(dir string) (address string, stop func(), err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	client := url.URL{Scheme: "http", Host: free.Addr().String()}
	if err := free.Close(); err != nil {
		return "", nil, err
	}
	advertised := url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	config := embed.NewConfig()
	config.Dir = dir
	config.LogLevel = "error"
	config.UnsafeNoFsync = true // tests lose nothing in a power cut
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "1h"
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}, []url.URL{advertised}
	config.InitialCluster = config.Name + "=" + advertised.String()
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return "", nil, err
	}
	<-etcd.Server.ReadyNotify()
	return client.String(), etcd.Close, nil
}

func newToken() (string, error) {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	return hex.EncodeToString(secret), nil
}

// newConfig is the outer server's: core types, discovery and OpenAPI of everything, one token that may do all.
func newConfig(options *genericoptions.RecommendedOptions, token string) (*server.RecommendedConfig, error) {
	all := func(reference common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		definitions := openapi.GetOpenAPIDefinitions(reference)
		for key, definition := range apiextopenapi.GetOpenAPIDefinitions(reference) {
			definitions[key] = definition
		}
		return definitions
	}
	definitions := utilopenapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(all)
	namer := openapinamer.NewDefinitionNamer(scheme, apiext.Scheme)
	config := server.NewRecommendedConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.OpenAPIConfig = server.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(definitions, namer)
	config.AggregatedDiscoveryGroupManager = discovery.NewResourceManager("apis")
	if err := options.Etcd.ApplyTo(&config.Config); err != nil {
		return nil, err
	}
	if err := options.SecureServing.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return nil, err
	}
	tester := &user.DefaultInfo{Name: "tests", UID: "tests", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
	config.Authentication.Authenticator = bearertoken.New(tokenfile.New(map[string]*user.DefaultInfo{token: tester}))
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()
	config.ClientConfig = config.LoopbackClientConfig
	return config, nil
}

// newCustomResources is the server of CustomResourceDefinitions and of what they define, to be delegated to.
func newCustomResources(outer *server.RecommendedConfig, etcd genericoptions.EtcdOptions) (*apiext.CustomResourceDefinitions, error) {
	config := outer.Config
	config.PostStartHooks = map[string]server.PostStartHookConfigEntry{}
	config.RESTOptionsGetter, config.SkipOpenAPIInstallation = nil, true
	etcd.StorageConfig.Codec = apiext.Codecs.LegacyCodec(apiextv1beta1.SchemeGroupVersion, apiextv1.SchemeGroupVersion)
	etcd.StorageConfig.EncodeVersioner = runtime.NewMultiGroupVersioner(apiextv1.SchemeGroupVersion, schema.GroupKind{Group: apiextv1.GroupName})
	etcd.SkipHealthEndpoints = true
	if err := etcd.ApplyTo(&config); err != nil {
		return nil, err
	}
	if err := genericoptions.NewAPIEnablementOptions().ApplyTo(&config, apiext.DefaultAPIResourceConfigSource(), apiext.Scheme); err != nil {
		return nil, err
	}
	complete := (&apiext.Config{
		GenericConfig: &server.RecommendedConfig{Config: config, SharedInformerFactory: outer.SharedInformerFactory},
		ExtraConfig: apiext.ExtraConfig{
			CRDRESTOptionsGetter: apiextoptions.NewCRDRESTOptionsGetter(etcd, config.ResourceTransformers, config.StorageObjectCountTracker),
			MasterCount:          1,
			ServiceResolver:      webhook.NewDefaultServiceResolver(),
			AuthResolverWrapper:  webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, outer.LoopbackClientConfig, noop.NewTracerProvider()),
		},
	}).Complete()
	return complete.New(server.NewEmptyDelegate())
}

// announceGroups lists the custom groups under /apis for clients that know no aggregated discovery.
func announceGroups(core *server.GenericAPIServer, definitions []*apiextv1.CustomResourceDefinition) {
	versions := map[string][]string{}
	for _, crd := range definitions {
		for _, version := range crd.Spec.Versions {
			if version.Served && !slices.Contains(versions[crd.Spec.Group], version.Name) {
				versions[crd.Spec.Group] = append(versions[crd.Spec.Group], version.Name)
			}
		}
	}
	for group, served := range versions {
		slices.Sort(served)
		slices.Reverse(served)
		announce(core, group, served)
	}
}

func announce(core *server.GenericAPIServer, group string, versions []string) {
	entry := metav1.APIGroup{Name: group}
	for _, version := range versions {
		entry.Versions = append(entry.Versions, metav1.GroupVersionForDiscovery{GroupVersion: group + "/" + version, Version: version})
	}
	entry.PreferredVersion = entry.Versions[0]
	core.DiscoveryGroupManager.AddGroup(entry)
}

func writeKubeconfig(path, address, certificate, token string) error {
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: tests, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: tests, user: {token: %q}}]
contexts: [{name: tests, context: {cluster: tests, user: tests}}]
current-context: tests
`, address, certificate, token)
	// Whoever waits for the file must not read half of it.
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
