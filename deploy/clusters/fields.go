package clusters

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// FieldType is what a field holds.
type FieldType string

// What a field holds.
const (
	TypeObject      FieldType = "object"      // with Fields
	TypeMap         FieldType = "map"         // of strings to Items
	TypeList        FieldType = "list"        // of Items
	TypeString      FieldType = "string"      // with a Unit, where its form is known
	TypeInteger     FieldType = "integer"     //
	TypeNumber      FieldType = "number"      //
	TypeBoolean     FieldType = "boolean"     //
	TypeIntOrString FieldType = "intOrString" // such as a quantity, or a percentage
	TypeAny         FieldType = "any"         // whatever JSON there is
)

// Unit is what a value is measured in, where the schema tells.
type Unit string

// The units that a schema tells of.
const (
	UnitTime     Unit = "time"     // RFC 3339
	UnitDuration Unit = "duration" // such as 1m30s
	UnitQuantity Unit = "quantity" // of Kubernetes, such as 100m or 8Gi
	UnitPercent  Unit = "percent"  // an integer
)

// Field is one field of a kind, with all that its schema says of it.
type Field struct {
	Name        string    `json:"name"` // empty: of the items of a list or map
	Path        string    `json:"path"` // such as spec.listeners[].port; the values of maps are {}; empty: the object itself
	Type        FieldType `json:"type"`
	Format      string    `json:"format,omitempty"` // such as int32 or date-time
	Unit        Unit      `json:"unit,omitempty"`
	Required    bool      `json:"required,omitempty"`
	Nullable    bool      `json:"nullable,omitempty"`
	Description string    `json:"description,omitempty"`

	Default json.RawMessage   `json:"default,omitempty"` // nil: none
	Enum    []json.RawMessage `json:"enum,omitempty"`
	Pattern string            `json:"pattern,omitempty"`
	// Minimum and Maximum bound a number; MinLength and MaxLength count characters of a string, items of a
	// list, or members of a map or object.
	Minimum   *float64 `json:"minimum,omitempty"`
	Maximum   *float64 `json:"maximum,omitempty"`
	MinLength *int64   `json:"minLength,omitempty"`
	MaxLength *int64   `json:"maxLength,omitempty"`
	// ListType is atomic, set or map; with map, Keys tell items apart.
	ListType string   `json:"listType,omitempty"`
	Keys     []string `json:"keys,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`

	Fields []*Field `json:"fields,omitempty"` // of an object, by name
	Items  *Field   `json:"items,omitempty"`  // of a list or map
}

// Rule is a condition in CEL that a value must meet, and what people are told if it does not.
type Rule struct {
	Rule    string `json:"rule"`
	Message string `json:"message,omitempty"`
}

// ReadCRD reads a CustomResourceDefinition from YAML or JSON. Fields that there are not are an error.
func ReadCRD(text []byte) (*apiextensionsv1.CustomResourceDefinition, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		return nil, fmt.Errorf("this is no CustomResourceDefinition of apiextensions.k8s.io/v1: %w", err)
	}
	if crd.Kind != "CustomResourceDefinition" || crd.APIVersion != apiextensionsv1.SchemeGroupVersion.String() {
		return nil, fmt.Errorf("this is a %s of %s, not a CustomResourceDefinition of %s", crd.Kind, crd.APIVersion, apiextensionsv1.SchemeGroupVersion)
	}
	return crd, nil
}

// GetCRD reads a CustomResourceDefinition from a cluster; its name is PLURAL.GROUP. The scheme of the reader
// need not know of such. Its errors are those of the reader.
func GetCRD(ctx context.Context, from client.Reader, name string) (*apiextensionsv1.CustomResourceDefinition, error) {
	form := &unstructured.Unstructured{}
	form.SetGroupVersionKind(schema.GroupVersionKind{Group: apiextensionsv1.GroupName, Version: "v1", Kind: "CustomResourceDefinition"})
	if err := from.Get(ctx, types.NamespacedName{Name: name}, form); err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(form.Object, crd); err != nil {
		return nil, fmt.Errorf("CustomResourceDefinition %s: %w", name, err)
	}
	return crd, nil
}

// Fields returns the fields of a version of a kind, from its object down. The empty version is the one that
// is stored. It is pure, and the tree is the caller's.
func Fields(crd *apiextensionsv1.CustomResourceDefinition, version string) (*Field, error) {
	for _, v := range crd.Spec.Versions {
		if v.Name != version && (version != "" || !v.Storage) {
			continue
		}
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			return nil, fmt.Errorf("version %s of %s has no schema", v.Name, crd.Name)
		}
		return fieldOf("", "", v.Schema.OpenAPIV3Schema), nil
	}
	return nil, fmt.Errorf("%s has no version %q", crd.Name, version)
}

// Find returns the field of a path below this one, and nil where there is none.
func (f *Field) Find(path string) (found *Field) {
	f.Walk(func(field *Field) {
		if field.Path == path {
			found = field
		}
	})
	return found
}

// Walk calls visit with this field and all below it, parents first.
func (f *Field) Walk(visit func(*Field)) {
	visit(f)
	for _, field := range f.Fields {
		field.Walk(visit)
	}
	if f.Items != nil {
		f.Items.Walk(visit)
	}
}

// fieldOf reads one schema.
func fieldOf(name, path string, s *apiextensionsv1.JSONSchemaProps) *Field {
	f := &Field{
		Name: name, Path: path, Type: typeOf(s), Format: s.Format, Nullable: s.Nullable, Description: s.Description,
		Pattern: s.Pattern, Minimum: s.Minimum, Maximum: s.Maximum,
	}
	if s.Default != nil {
		f.Default = json.RawMessage(s.Default.Raw)
	}
	for _, value := range s.Enum {
		f.Enum = append(f.Enum, json.RawMessage(value.Raw))
	}
	for _, rule := range s.XValidations {
		f.Rules = append(f.Rules, Rule{Rule: rule.Rule, Message: rule.Message})
	}
	f.Unit = unitOf(f)
	switch f.Type {
	case TypeObject:
		f.MinLength, f.MaxLength = s.MinProperties, s.MaxProperties
		f.takeFields(s)
	case TypeMap:
		f.MinLength, f.MaxLength = s.MinProperties, s.MaxProperties
		f.Items = itemsOf(path+"{}", s.AdditionalProperties.Schema)
	case TypeList:
		f.MinLength, f.MaxLength, f.Keys = s.MinItems, s.MaxItems, s.XListMapKeys
		if s.XListType != nil {
			f.ListType = *s.XListType
		}
		f.Items = itemsOf(path+"[]", s.Items.Schema)
	default:
		f.MinLength, f.MaxLength = s.MinLength, s.MaxLength
	}
	return f
}

func itemsOf(path string, s *apiextensionsv1.JSONSchemaProps) *Field {
	if s == nil {
		return &Field{Path: path, Type: TypeAny}
	}
	return fieldOf("", path, s)
}

// takeFields reads the schemas of an object's fields, by name.
func (f *Field) takeFields(s *apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		path := name
		if f.Path != "" {
			path = f.Path + "." + name
		}
		inner := s.Properties[name]
		field := fieldOf(name, path, &inner)
		field.Required = slices.Contains(s.Required, name)
		f.Fields = append(f.Fields, field)
	}
}

func typeOf(s *apiextensionsv1.JSONSchemaProps) FieldType {
	switch {
	case s.XIntOrString:
		return TypeIntOrString
	case s.Type == "array" && s.Items != nil:
		return TypeList
	case s.Type == "object" && s.AdditionalProperties != nil && len(s.Properties) == 0:
		return TypeMap
	case s.Type == "object" || len(s.Properties) > 0:
		return TypeObject
	case s.Type == "string", s.Type == "integer", s.Type == "number", s.Type == "boolean":
		return FieldType(s.Type)
	default:
		return TypeAny
	}
}

// quantityPattern is the one that generated schemas have for quantities.
const quantityPattern = `^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$`

// unitOf tells the unit by the format, by the functions that rules apply, and by the custom of names.
func unitOf(f *Field) Unit {
	isDuration := func(r Rule) bool { return strings.Contains(r.Rule, "duration(self)") }
	switch {
	case f.Format == "date-time":
		return UnitTime
	case f.Pattern == quantityPattern:
		return UnitQuantity
	case f.Type == TypeString && slices.ContainsFunc(f.Rules, isDuration):
		return UnitDuration
	case f.Type == TypeInteger && strings.HasSuffix(strings.ToLower(f.Name), "percent"):
		return UnitPercent
	default:
		return ""
	}
}
