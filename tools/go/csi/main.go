// Copyright: (c) 2026, mlplatform.kubeflow contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A CSI driver whose volumes and snapshots are folders, for tests: the sidecars of Kubernetes that call it are the real ones.
// It mounts nothing, as no pod of a sandbox runs.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const name = "folders.mlplatform.invalid"

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	root string
}

func (d *driver) path(kind, id string) string { return filepath.Join(d.root, kind, filepath.Base(id)) }

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: name, VendorVersion: "1"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}
	return &csi.GetPluginCapabilitiesResponse{
		Capabilities: []*csi.PluginCapability{{Type: &csi.PluginCapability_Service_{Service: service}}},
	}, nil
}

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	answer := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
	} {
		rpc := &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}}
		answer.Capabilities = append(answer.Capabilities, &csi.ControllerServiceCapability{Type: rpc})
	}
	return answer, nil
}

func (d *driver) CreateVolume(_ context.Context, asked *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	volume := d.path("volumes", asked.GetName())
	if err := os.MkdirAll(volume, 0o755); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if source := asked.GetVolumeContentSource().GetSnapshot(); source != nil {
		from := d.path("snapshots", source.GetSnapshotId())
		if _, err := os.Stat(from); err != nil {
			return nil, status.Error(codes.NotFound, "there is no snapshot "+source.GetSnapshotId())
		}
		if err := refill(volume, from); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      asked.GetName(),
		CapacityBytes: asked.GetCapacityRange().GetRequiredBytes(),
		ContentSource: asked.GetVolumeContentSource(),
	}}, nil
}

func (d *driver) DeleteVolume(_ context.Context, asked *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	return &csi.DeleteVolumeResponse{}, os.RemoveAll(d.path("volumes", asked.GetVolumeId()))
}

func (d *driver) CreateSnapshot(_ context.Context, asked *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	source, target := d.path("volumes", asked.GetSourceVolumeId()), d.path("snapshots", asked.GetName())
	if _, err := os.Stat(filepath.Join(source, ".broken")); err == nil {
		return nil, status.Error(codes.Internal, "the disk of this volume is broken")
	}
	if _, err := os.Stat(target); err != nil {
		if err := refill(target, source); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.CreateSnapshotResponse{Snapshot: d.snapshot(asked.GetName(), asked.GetSourceVolumeId())}, nil
}

func (d *driver) DeleteSnapshot(_ context.Context, asked *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	return &csi.DeleteSnapshotResponse{}, os.RemoveAll(d.path("snapshots", asked.GetSnapshotId()))
}

func (d *driver) ListSnapshots(_ context.Context, asked *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	answer := &csi.ListSnapshotsResponse{}
	if _, err := os.Stat(d.path("snapshots", asked.GetSnapshotId())); asked.GetSnapshotId() != "" && err == nil {
		answer.Entries = append(answer.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: d.snapshot(asked.GetSnapshotId(), "")})
	}
	return answer, nil
}

func (d *driver) snapshot(id, volume string) *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: id, SourceVolumeId: volume, SizeBytes: 1 << 20, CreationTime: timestamppb.Now(), ReadyToUse: true}
}

// refill makes a folder with the files of another one, whole or not at all.
func refill(target, source string) error {
	half := target + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.CopyFS(half, os.DirFS(source)); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	return os.Rename(half, target)
}

func main() {
	root := flag.String("root", "", "where volumes and snapshots lie")
	socket := flag.String("socket", "", "where it listens")
	flag.Parse()
	for _, kind := range []string{"volumes", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(*root, kind), 0o755); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	server, one := grpc.NewServer(), &driver{root: *root}
	csi.RegisterIdentityServer(server, one)
	csi.RegisterControllerServer(server, one)
	log.Fatal(server.Serve(listener))
}
