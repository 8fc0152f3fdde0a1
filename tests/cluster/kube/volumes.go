// The agent of a node that makes and removes the volumes of its pods. Each is a disk of the size that was asked for: a
// sparse file with a file system of its own, so a full one is full, and what was not synced can be lost.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisioner = "nsqube.test/volumes"
	// What the controller manager and the scheduler write on claims.
	ofProvisioner = "volume.kubernetes.io/storage-provisioner"
	selectedNode  = "volume.kubernetes.io/selected-node"
	ofNode        = "nsqube.test/node"
	// XFS makes none that is smaller. It is XFS because its tools need fewer rights than ext4's.
	smallest = 300 << 20
)

type agent struct {
	api    kubernetes.Interface
	node   string
	folder string
}

func volumes(arguments []string) int {
	flags := flag.NewFlagSet("volumes", flag.ExitOnError)
	node := flags.String("node", "", "the node this runs on")
	folder := flags.String("folder", "", "where its disks are")
	config := flags.String("kubeconfig", "", "how to reach the API server")
	_ = flags.Parse(arguments)
	rest, err := clientcmd.BuildConfigFromFlags("", *config)
	if err != nil {
		log.Print(err)
		return 1
	}
	rest.QPS, rest.Burst = 50, 100
	api, err := kubernetes.NewForConfig(rest)
	if err != nil {
		log.Print(err)
		return 1
	}
	a := &agent{api, *node, *folder}
	a.mountAll()
	for {
		if err := a.pass(context.Background()); err != nil {
			log.Print(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// mountAll brings the disks back after the node was away.
func (a *agent) mountAll() {
	disks, _ := filepath.Glob(filepath.Join(a.folder, "*.disk"))
	for _, disk := range disks {
		if err := a.mount(strings.TrimSuffix(filepath.Base(disk), ".disk")); err != nil {
			log.Print(err)
		}
	}
}

func (a *agent) pass(ctx context.Context) error {
	// Resource version 0: from the API server's cache, which costs etcd nothing.
	cached := meta.ListOptions{ResourceVersion: "0"}
	claims, err := a.api.CoreV1().PersistentVolumeClaims("").List(ctx, cached)
	if err != nil {
		return err
	}
	there, err := a.api.CoreV1().PersistentVolumes().List(ctx, cached)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range there.Items {
		volume := &there.Items[i]
		known[volume.Name] = true
		if volume.Annotations[ofNode] == a.node && volume.Status.Phase == core.VolumeReleased {
			report(volume.Name+" is removed", a.remove(ctx, volume.Name))
		}
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		name := "pvc-" + string(claim.UID)
		isOurs := claim.Annotations[ofProvisioner] == provisioner && claim.Annotations[selectedNode] == a.node
		if isOurs && claim.Spec.VolumeName == "" && !known[name] {
			report(name+" is made for "+claim.Name, a.make(ctx, name, claim))
		}
	}
	return nil
}

func report(what string, err error) {
	if err != nil {
		what += ": no, " + err.Error()
	}
	log.Print(what)
}

func (a *agent) disk(name string) string  { return filepath.Join(a.folder, name+".disk") }
func (a *agent) place(name string) string { return filepath.Join(a.folder, name) }

func (a *agent) make(ctx context.Context, name string, claim *core.PersistentVolumeClaim) error {
	wanted := claim.Spec.Resources.Requests[core.ResourceStorage]
	if err := a.format(name, max(wanted.Value(), smallest)); err != nil {
		return err
	}
	if err := a.mount(name); err != nil {
		return err
	}
	mode := core.PersistentVolumeFilesystem
	here := core.NodeSelectorRequirement{Key: "kubernetes.io/hostname", Operator: core.NodeSelectorOpIn, Values: []string{a.node}}
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{
			"pv.kubernetes.io/provisioned-by": provisioner, ofNode: a.node,
		}},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: wanted},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    &mode,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			// Of this kind, because a kubelet then sets its group, as on a cloud's disk.
			PersistentVolumeSource: core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: a.place(name)}},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{
				{MatchExpressions: []core.NodeSelectorRequirement{here}},
			}}},
		},
	}
	_, err := a.api.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // made in the last pass; the cache did not show it yet
	}
	return err
}

// format makes a disk. One that is there is left alone: the cached list may hide the volume that it belongs to.
func (a *agent) format(name string, size int64) error {
	if _, err := os.Stat(a.disk(name)); err == nil {
		return nil
	}
	unfinished := a.disk(name) + ".new"
	disk, err := os.Create(unfinished)
	if err != nil {
		return err
	}
	defer disk.Close()
	if err := disk.Truncate(size); err != nil {
		return err
	}
	if err := run("mkfs.xfs", "-q", "-f", unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, a.disk(name))
}

func (a *agent) mount(name string) error {
	if err := os.MkdirAll(a.place(name), 0o755); err != nil {
		return err
	}
	if exec.Command("mountpoint", "-q", a.place(name)).Run() == nil {
		return nil
	}
	return run("mount", "-o", "loop", a.disk(name), a.place(name))
}

func (a *agent) remove(ctx context.Context, name string) error {
	if err := run("umount", a.place(name)); err != nil && exec.Command("mountpoint", "-q", a.place(name)).Run() == nil {
		return err
	}
	if err := os.RemoveAll(a.place(name)); err != nil {
		return err
	}
	if err := os.RemoveAll(a.disk(name)); err != nil {
		return err
	}
	err := a.api.CoreV1().PersistentVolumes().Delete(ctx, name, meta.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func run(name string, arguments ...string) error {
	output, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}
