package protocol

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// strict refuses names that v does not have. The package itself compares names exactly and
// refuses a name that an object has twice, text that is not UTF-8, and bytes after the value.
var strict = json.RejectUnknownMembers(true)

// DecodeRequest reads the JSON of a request into v. An empty body is an empty request. A
// name that is unknown, also one that differs in case only, a name given twice, a wrong
// type and bytes after the object are refused with ErrBadRequest.
func DecodeRequest(b []byte, v any) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v, strict); err != nil {
		return ErrBadRequest.With("request is not the JSON expected here: %s", jsonFault(err))
	}
	return nil
}

// jsonFault returns the text of a JSON error in words of JSON: who sent the request need
// not know Go's types.
func jsonFault(err error) string {
	if syntax, is := errors.AsType[*jsontext.SyntacticError](err); is {
		if syntax.Err == jsontext.ErrDuplicateName { //nolint:errorlint // the package documents that it is not wrapped
			return "field " + fieldOf(syntax.JSONPointer) + " is given twice"
		}
		return fmt.Sprintf("%v, after %d bytes", syntax.Err, syntax.ByteOffset)
	}
	wrong, is := errors.AsType[*json.SemanticError](err)
	if !is {
		return err.Error()
	}
	if wrong.Err == json.ErrUnknownName { //nolint:errorlint // as above
		return "field " + fieldOf(wrong.JSONPointer) + " is unknown"
	}
	field := "it"
	if name := fieldOf(wrong.JSONPointer); name != "" {
		field = "field " + name
	}
	if wrong.JSONKind == '"' && wrong.Err != nil && readsText(wrong.GoType) {
		return fmt.Sprintf("%s: %v", field, wrong.Err) // a string, which is not a partition or a time
	}
	return fmt.Sprintf("%s is %s, use %s", field, valueName(wrong.JSONKind), jsonName(wrong.GoType))
}

// fieldOf returns the name that p leads to, such as offsets.2.topic.
func fieldOf(p jsontext.Pointer) string {
	var name strings.Builder
	for token := range p.Tokens() {
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		name.WriteString(clip(token))
		if name.Len() > 100 {
			return name.String() + "..."
		}
	}
	return name.String()
}

// valueName says what a value is.
func valueName(k jsontext.Kind) string {
	switch k {
	case '[', ']':
		return "an array"
	case '{', '}':
		return "an object"
	case '"':
		return "a string"
	case '0':
		return "a number"
	default:
		return k.String() // null, true, false
	}
}

// jsonName says what JSON stands for a type.
func jsonName(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number in range"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Pointer:
		return jsonName(t.Elem())
	case reflect.Struct, reflect.Map:
		if readsText(t) {
			return "a string"
		}
		return "an object"
	default:
		return "a string"
	}
}

// readsText reports whether values of t are strings in JSON.
func readsText(t reflect.Type) bool {
	return t != nil && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
