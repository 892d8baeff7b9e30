package v1alpha1_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"sigs.k8s.io/yaml"
)

// kind does with objects of one kind what the API server does before it stores them. Every step is the
// API server's own code; only their order is written here, as it is in its strategy for custom resources
// (package customresource, which would link the whole storage).
type kind struct {
	schema    *schema.Structural
	validator validation.SchemaValidator
	rules     *cel.Validator
}

// readCRD reads a generated CRD into the API server's internal form, with the defaults of CRDs.
func readCRD(t *testing.T, plural string) *apiextensions.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "manifests", "crds", "gridrouter.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{apiextensionsv1.AddToScheme, apiextensions.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	object, _, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(apiextensions.SchemeGroupVersion).Decode(text, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	crd, ok := object.(*apiextensions.CustomResourceDefinition)
	if !ok {
		t.Fatalf("the file of %s holds a %T", plural, object)
	}
	// The server itself fills this in when a CRD is created, and validation asks for it.
	crd.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	return crd
}

func newKind(t *testing.T, plural string) *kind {
	t.Helper()
	crd := readCRD(t, plural)
	form := crd.Spec.Validation // a CRD with one version has its schema here, in the internal form
	structural, err := schema.NewStructural(form.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(form.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	return &kind{schema: structural, validator: validator, rules: cel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

// admit fills in defaults and validates an object as the API server does when it is created. Fields
// that the kind does not have are an error, as they are with strict field validation.
func (k *kind) admit(object map[string]any) field.ErrorList {
	errs := k.prepare(object)
	errs = append(errs, validation.ValidateCustomResource(nil, object, k.validator)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.schema, object)...)
	return k.checkRules(errs, object, nil)
}

// admitUpdate does the same for an update: what was wrong already and did not change is let pass.
func (k *kind) admitUpdate(object, old map[string]any) field.ErrorList {
	errs := k.prepare(object)
	correlated := common.NewCorrelatedObject(object, old, &model.Structural{Structural: k.schema})
	errs = append(errs, validation.ValidateCustomResourceUpdate(nil, object, old, k.validator, validation.WithRatcheting(correlated))...)
	if len(listtype.ValidateListSetsAndMaps(nil, k.schema, old)) == 0 {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.schema, object)...)
	}
	return k.checkRules(errs, object, old, cel.WithRatcheting(correlated))
}

func (k *kind) prepare(object map[string]any) (errs field.ErrorList) {
	for _, path := range pruning.PruneWithOptions(object, k.schema, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Invalid(field.NewPath(path), nil, "unknown field"))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.schema)
	defaulting.Default(object, k.schema)
	return errs
}

// checkRules evaluates the rules, unless an error makes that pointless: the same that the API server
// counts as such.
func (k *kind) checkRules(errs field.ErrorList, object, old map[string]any, options ...cel.Option) field.ErrorList {
	grave := []field.ErrorType{field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid}
	if slices.ContainsFunc(errs, func(err *field.Error) bool { return slices.Contains(grave, err.Type) }) {
		return errs
	}
	var before any
	if old != nil {
		before = old
	}
	found, _ := k.rules.Validate(context.Background(), nil, k.schema, object, before, celconfig.RuntimeCELCostBudget, options...)
	return append(errs, found...)
}

// TestTheAPIServerTakesTheCRDs runs the validation of CRDs. It compiles every rule, checks every default
// against its schema, and refuses rules whose estimated cost is beyond what a CRD may have.
func TestTheAPIServerTakesTheCRDs(t *testing.T) {
	for _, plural := range []string{"gridrouters", "clusterconnections", "etcdclusters", "etcdmembers", "etcdtasks"} {
		for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), readCRD(t, plural)) {
			t.Errorf("%s: %v", plural, err)
		}
	}

	// The same with a list that has no greatest size: that is too much for the rule that compares its items.
	crd := readCRD(t, "gridrouters")
	spec := crd.Spec.Validation.OpenAPIV3Schema.Properties["spec"]
	args := spec.Properties["args"]
	args.MaxItems = nil
	spec.Properties["args"] = args
	if got := lines(crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd)); !strings.Contains(got, "estimated rule cost exceeds budget") {
		t.Errorf("a rule about a list without bounds is answered by %q", got)
	}
}

// decode reads a document of YAML, with the numbers that the API server would have.
func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	object := map[string]any{}
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// merge puts a change into an object, as JSON merge patches do: null removes.
func merge(object, change map[string]any) {
	for name, value := range change {
		inner, isMap := value.(map[string]any)
		before, wasMap := object[name].(map[string]any)
		switch {
		case value == nil:
			delete(object, name)
		case isMap && wasMap:
			merge(before, inner)
		default:
			object[name] = value
		}
	}
}

// lines joins errors, one a line, as people get them.
func lines(errs field.ErrorList) string {
	all := make([]string, 0, len(errs))
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return strings.Join(all, "\n")
}
