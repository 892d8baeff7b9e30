package cluster

import (
	"context"
	"os"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// storageClass is the name of the only class of storage, which is the default.
const storageClass = "testbed"

// provideVolumes gives each claim of the storage class a volume, which is a folder that all
// nodes can reach, and takes the volume away when its claim is gone.
func (c *Cluster) provideVolumes(ctx context.Context, factory informers.SharedInformerFactory) error {
	_, err := c.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: storageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "testbed.gridrouter.io/folders",
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	handle := func(object any) {
		claim, ok := object.(*corev1.PersistentVolumeClaim)
		if !ok || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil ||
			claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != storageClass {
			return
		}
		if err := c.createVolume(ctx, claim); err != nil && ctx.Err() == nil {
			c.options.Progress("volumes: " + err.Error())
		}
	}
	_, err = factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    handle,
		UpdateFunc: func(_, object any) { handle(object) },
	})
	if err != nil {
		return err
	}
	_, err = factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, object any) {
			volume, ok := object.(*corev1.PersistentVolume)
			if ok && volume.Status.Phase == corev1.VolumeReleased && volume.Spec.StorageClassName == storageClass {
				c.removeVolume(ctx, volume.Name)
			}
		},
	})
	return err
}

func (c *Cluster) createVolume(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	name := "pvc-" + string(claim.UID)
	if err := os.MkdirAll(c.path("volumes", name), 0o700); err != nil {
		return err
	}
	// Whichever user a pod runs as may write to it.
	if err := os.Chmod(c.path("volumes", name), 0o777); err != nil { //nolint:gosec // as the line above says
		return err
	}
	_, err := c.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:      claim.Spec.AccessModes,
			StorageClassName: storageClass,
			// The testbed removes it itself, since nobody else knows the folder.
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: c.path("volumes", name)}},
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (c *Cluster) removeVolume(ctx context.Context, name string) {
	err := c.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if err == nil {
		err = os.RemoveAll(c.path("volumes", name))
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		c.options.Progress("volumes: " + err.Error())
	}
}
