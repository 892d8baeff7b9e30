package flags

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"gridrouter.io/discovery/files"
)

const (
	// maxConfigBytes bounds a configuration file.
	maxConfigBytes = 1 << 20
	// pipePatience is how long a pipe in place of a configuration file may take to end.
	pipePatience = 10 * time.Second
)

// fromFile fills the flags that are still unset from a file. The file may name flags
// of any command of the program, so that one file serves all of them; a name that
// none of them has is refused.
func fromFile(cmd *cobra.Command, name string) error {
	settings, err := readConfig(name)
	if err != nil {
		return Usagef("--%s: %w", configFlag, err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := applySetting(cmd, settings[i], settings[i+1]); err != nil {
			return Usagef("--%s: %s:%d: %w", configFlag, name, settings[i].Line, err)
		}
	}
	return nil
}

// readConfig returns the names and values of a file in turn, all names distinct.
func readConfig(name string) ([]*yaml.Node, error) {
	data, err := files.ReadPiped(name, maxConfigBytes, pipePatience)
	if errors.Is(err, files.ErrTooLarge) {
		return nil, fmt.Errorf("%s has more than %d bytes; a configuration file names flags and their values only", name, maxConfigBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; name a file that can be read", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document; write one", name)
	}
	top := document.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: is not a list of settings; write NAME: VALUE, with the names of flags", name, top.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(top.Content); i += 2 {
		if key := top.Content[i]; seen[key.Value] {
			return nil, fmt.Errorf("%s:%d: %q is given twice; keep one", name, key.Line, key.Value)
		}
		seen[top.Content[i].Value] = true
	}
	return top.Content, nil
}

// applySetting sets one flag, unless the command line or the environment did.
func applySetting(cmd *cobra.Command, key, value *yaml.Node) error {
	if key.Kind != yaml.ScalarNode || key.Value == configFlag || key.Value == "help" {
		return fmt.Errorf("%q cannot be set here; leave it out", key.Value)
	}
	flag := cmd.Flags().Lookup(key.Value)
	if flag == nil {
		if anyCommandHas(cmd.Root(), key.Value) {
			return nil
		}
		return fmt.Errorf("unknown name %q; %s", key.Value, mendName(cmd, key.Value))
	}
	values, err := scalars(flag, value)
	if err != nil {
		return err
	}
	if flag.Changed {
		return nil
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok && value.Kind == yaml.SequenceNode {
		err = list.Replace(values)
	} else {
		err = flag.Value.Set(values[0])
	}
	if err != nil {
		return valueError(key.Value, flag, value.Value, err)
	}
	flag.Changed = true
	return nil
}

// scalars returns a setting's value as texts: one, or one for each item of a list.
func scalars(flag *pflag.Flag, value *yaml.Node) ([]string, error) {
	_, repeatable := flag.Value.(pflag.SliceValue)
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag != "!!null":
		return []string{value.Value}, nil
	case value.Kind == yaml.SequenceNode && repeatable:
		texts := make([]string, 0, len(value.Content))
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, fmt.Errorf("%s: an item is not a plain value; write a list of texts", flag.Name)
			}
			texts = append(texts, item.Value)
		}
		return texts, nil
	case repeatable:
		return nil, fmt.Errorf("%s: is neither a value nor a list; write NAME: VALUE or NAME: [VALUE, VALUE]", flag.Name)
	}
	return nil, fmt.Errorf("%s: is not a plain value; write NAME: VALUE", flag.Name)
}

// anyCommandHas says whether cmd or a command below it has a flag of that name.
func anyCommandHas(cmd *cobra.Command, name string) bool {
	if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
		return true
	}
	for _, sub := range cmd.Commands() {
		if anyCommandHas(sub, name) {
			return true
		}
	}
	return false
}
