package configs

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// topicPrefix begins the name of a topic's section.
const topicPrefix = "topic="

// option is one key of one section: a field of the tree in options.go.
type option struct {
	section string // "system", "zookeeper", "nats", "metrics", "topic=NAME", "" in metaq.ini
	key     string
	tag     reflect.StructTag
	value   reflect.Value // settable
}

// id tells options of one configuration apart.
func (o option) id() string { return o.section + "\n" + o.key }

// optionsOf lists the tagged fields of the struct that tree points to, those of
// embedded structs too, in the order of the source.
func optionsOf(section string, tree any) []option {
	var list []option
	var walk func(v reflect.Value, keys string)
	walk = func(v reflect.Value, keys string) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Anonymous {
				walk(v.Field(i), keys+field.Tag.Get("keys"))
			} else if key := field.Tag.Get("ini"); key != "" {
				list = append(list, option{section: section, key: keys + key, tag: field.Tag, value: v.Field(i)})
			}
		}
	}
	walk(reflect.ValueOf(tree).Elem(), "")
	return list
}

// defaultText gives the default of a broker with or without a file.
func (o option) defaultText(withFile bool) string {
	if text, found := o.tag.Lookup("nofile"); found && !withFile {
		return text
	}
	return o.tag.Get("default")
}

// reference reads a default "ref:KEY" or "ref:KEY+N".
func reference(text string) (key string, plus int64, found bool) {
	text, found = strings.CutPrefix(text, "ref:")
	if !found {
		return "", 0, false
	}
	key, number, added := strings.Cut(text, "+")
	if added {
		plus, _ = strconv.ParseInt(number, 10, 64) // a test parses every tag
	}
	return key, plus, true
}

// bounds gives the inclusive bounds of a number or a time; false when the
// option has none.
func (o option) bounds() (least, most option, bounded bool) {
	bound := func(tag string, otherwise int64) option {
		b := option{section: o.section, key: o.key, tag: o.tag, value: reflect.New(o.value.Type()).Elem()}
		b.value.SetInt(otherwise)
		if text, found := o.tag.Lookup(tag); found {
			_ = b.set(text, time.UTC) // a test parses every tag
		}
		return b
	}
	if !o.value.CanInt() {
		return option{}, option{}, false
	}
	return bound("min", -1<<63), bound("max", 1<<63-1), true
}
