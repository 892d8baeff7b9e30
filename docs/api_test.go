package docs_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var updateAPI = flag.Bool("update", false, "write the generated part of API.md anew")

// generatedMark stands in API.md before what is generated.
const generatedMark = "<!-- generated -->\n"

// schema is what the page needs of a CRD's OpenAPI schema.
type schema struct {
	Type        string             `yaml:"type"`
	Description string             `yaml:"description"`
	Default     any                `yaml:"default"`
	Enum        []string           `yaml:"enum"`
	Minimum     *float64           `yaml:"minimum"`
	Maximum     *float64           `yaml:"maximum"`
	MinLength   *float64           `yaml:"minLength"`
	MaxLength   *float64           `yaml:"maxLength"`
	MinItems    *float64           `yaml:"minItems"`
	MaxItems    *float64           `yaml:"maxItems"`
	MaxProps    *float64           `yaml:"maxProperties"`
	Required    []string           `yaml:"required"`
	Properties  map[string]*schema `yaml:"properties"`
	Items       *schema            `yaml:"items"`
	Additional  *schema            `yaml:"additionalProperties"`
	IntOrString bool               `yaml:"x-kubernetes-int-or-string"`
	Rules       []struct {
		Message string `yaml:"message"`
	} `yaml:"x-kubernetes-validations"`
}

// kubernetes are fields that are as in Kubernetes' own kinds, which explain them.
var kubernetes = map[string]string{
	"spec.resources":             "ResourceRequirements",
	"spec.placement.tolerations": "list of Toleration",
	"spec.access.namespaces":     "LabelSelector",
	"status.conditions":          "list of Condition",
}

// TestTheAPIPageIsGenerated compares API.md with the CRDs and with the reasons in the code; -update
// writes it anew.
func TestTheAPIPageIsGenerated(t *testing.T) {
	page, err := os.ReadFile("API.md")
	if err != nil {
		t.Fatal(err)
	}
	head, got, marked := strings.Cut(string(page), generatedMark)
	if !marked {
		t.Fatalf("API.md has no %s", generatedMark)
	}
	want := "\n" + kindTables(t) + reasonTables(t)
	if got == want {
		return
	}
	if *updateAPI {
		if err := os.WriteFile("API.md", []byte(head+generatedMark+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("API.md is not what the kinds say: run make generate")
}

// kindTables returns, for each kind, a table of its fields and one of its rules.
func kindTables(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, plural := range []string{"gridrouters", "clusterconnections", "etcdclusters", "etcdmembers", "etcdtasks"} {
		text, err := os.ReadFile(filepath.Join("..", "deploy", "manifests", "crds", "gridrouter.io_"+plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct {
						Root schema `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		root := crd.Spec.Versions[0].Schema.Root
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", crd.Spec.Names.Kind, wrap(root.Description))
		for _, part := range []string{"spec", "status"} {
			fmt.Fprintf(&b, "| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n")
			root.Properties[part].fields(&b, part, nil)
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "| rule at | what is answered to who breaks it |\n|---|---|\n")
		root.rules(&b, "")
		b.WriteString("\n")
	}
	return b.String()
}

// fields writes a row for each field below a path, in the order of their names.
func (s *schema) fields(b *strings.Builder, path string, required []string) {
	if name := path[strings.LastIndex(path, ".")+1:]; strings.Contains(path, ".") {
		value := ""
		switch {
		case slices.Contains(required, strings.TrimSuffix(name, "[]")):
			value = "required"
		case s.Default != nil && s.Type != "object":
			value = "`" + flow(s.Default) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", path, s.kind(path), value, s.bounds(), cell(s.Description))
	}
	if kubernetes[path] != "" {
		return
	}
	inner := s
	if s.Items != nil {
		inner, path = s.Items, path+"[]"
	}
	for _, name := range slices.Sorted(maps.Keys(inner.Properties)) {
		inner.Properties[name].fields(b, path+"."+name, inner.Required)
	}
}

// kind names a type in the words of the page.
func (s *schema) kind(path string) string {
	switch {
	case kubernetes[path] != "":
		return kubernetes[path]
	case s.IntOrString:
		return "number or share"
	case s.Items != nil:
		return "list of " + s.Items.kind("")
	case s.Additional != nil:
		return "map of " + s.Additional.kind("")
	}
	return s.Type
}

// bounds returns what the schema holds a value to.
func (s *schema) bounds() string {
	between := func(low, high *float64, unit string) string {
		switch {
		case low == nil && high == nil:
			return ""
		case high == nil:
			return fmt.Sprintf("from %.0f%s", *low, unit)
		case low == nil:
			return fmt.Sprintf("at most %.0f%s", *high, unit)
		}
		return fmt.Sprintf("%.0f to %.0f%s", *low, *high, unit)
	}
	if len(s.Enum) > 0 {
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	}
	return between(s.Minimum, s.Maximum, "") + between(s.MinLength, s.MaxLength, " characters") +
		between(s.MinItems, s.MaxItems, " items") + between(nil, s.MaxProps, " entries")
}

// rules writes a row for each rule at and below a path.
func (s *schema) rules(b *strings.Builder, path string) {
	for _, rule := range s.Rules {
		fmt.Fprintf(b, "| `%s` | %s |\n", cmp.Or(strings.TrimPrefix(path, "."), "metadata"), cell(rule.Message))
	}
	if s.Items != nil {
		s.Items.rules(b, path+"[]")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		s.Properties[name].rules(b, path+"."+name)
	}
}

// reasonTables returns the conditions and their reasons, with the comments that they have in the code.
func reasonTables(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	file, err := parser.ParseFile(token.NewFileSet(), "../deploy/api/v1alpha1/conditions.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		group, ok := declaration.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		title, rest, _ := strings.Cut(strings.TrimSpace(group.Doc.Text()), ".")
		fmt.Fprintf(&b, "## %s\n\n", title)
		if rest = strings.TrimSpace(rest); rest != "" {
			fmt.Fprintf(&b, "%s\n\n", wrap(strings.NewReplacer("[", "", "]", "").Replace(rest)))
		}
		fmt.Fprintf(&b, "| value | meaning |\n|---|---|\n%s\n", constants(t, group))
	}
	if strings.Count(b.String(), "\n## ") < 6 {
		t.Errorf("few conditions and reasons were found:\n%s", &b)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// constants returns a row for each condition or reason of a group of constants.
func constants(t *testing.T, group *ast.GenDecl) string {
	t.Helper()
	var b strings.Builder
	for _, spec := range group.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		name := value.Names[0].Name
		_, meaning, documented := strings.Cut(value.Doc.Text(), name+": ")
		if !documented {
			t.Errorf("the comment of %s does not say what it means: begin it with %q", name, name+": ")
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.Trim(value.Values[0].(*ast.BasicLit).Value, `"`), cell(meaning))
	}
	return b.String()
}

// cell makes one line of a text, fit for a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// wrap breaks a paragraph into lines that fit on a screen.
func wrap(text string) string {
	var b strings.Builder
	length := 0
	for _, word := range strings.Fields(text) {
		switch {
		case length == 0:
		case length+1+len(word) > maxLine:
			b.WriteString("\n")
			length = 0
		default:
			b.WriteString(" ")
			length++
		}
		b.WriteString(word)
		length += len(word)
	}
	return b.String()
}

// flow writes a value in one line.
func flow(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, flow(item))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		var all []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, name+": "+flow(v[name]))
		}
		return "{" + strings.Join(all, ", ") + "}"
	}
	return fmt.Sprint(value)
}
