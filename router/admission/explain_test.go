package admission_test

import (
	"reflect"
	"testing"

	"gridrouter.io/router/admission"
)

// TestAQuestionIsReadAsItIsWritten fills each field of a question, writes it as a query, and reads it again.
func TestAQuestionIsReadAsItIsWritten(t *testing.T) {
	var want admission.Question
	fields := reflect.ValueOf(&want).Elem()
	for i := range fields.NumField() {
		switch value := fields.Field(i).Addr().Interface().(type) {
		case *string:
			*value = "x y&" + fields.Type().Field(i).Name
		case *[]string:
			*value = []string{"a: b=c", "d: e"}
		default:
			t.Fatalf("%s is a %s; a query bears text", fields.Type().Field(i).Name, fields.Field(i).Type())
		}
	}
	for _, q := range []admission.Question{want, {URL: "http://a.example/", Method: "GET"}} {
		if got := admission.QuestionOf(q.Query()); !reflect.DeepEqual(got, q) {
			t.Errorf("%+v was read as %+v", q, got)
		}
	}
}
