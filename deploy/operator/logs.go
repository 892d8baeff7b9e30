package operator

import (
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// CaptureLogs gives what the libraries of Kubernetes log to a logger of the operator's form. These libraries
// have one logger for a process, which cannot be changed while it is in use: call it once, before [Run].
func CaptureLogs(logger *zap.Logger) {
	log.SetLogger(zapr.NewLogger(logger))
	klog.SetLogger(zapr.NewLogger(logger.Named("kubernetes")))
}
