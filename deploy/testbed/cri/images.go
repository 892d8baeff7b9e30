package cri

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"gridrouter.io/deploy/testbed/images"
)

// imageService tells the kubelet which images there are. Those that are mapped are there from
// the start; to pull any other fails as a pull from a registry does that lacks it.
type imageService struct {
	v1.UnimplementedImageServiceServer

	images *images.Map
	folder string
}

// ListImages lists the images that are mapped.
func (s *imageService) ListImages(context.Context, *v1.ListImagesRequest) (*v1.ListImagesResponse, error) {
	answer := &v1.ListImagesResponse{}
	for _, name := range s.images.Names() {
		if image, found := s.images.Find(name); found {
			answer.Images = append(answer.Images, describe(name, image))
		}
	}
	return answer, nil
}

// ImageStatus describes an image, or says by an empty answer that it is not there.
func (s *imageService) ImageStatus(_ context.Context, request *v1.ImageStatusRequest) (*v1.ImageStatusResponse, error) {
	image, found := s.images.Find(request.GetImage().GetImage())
	if !found {
		return &v1.ImageStatusResponse{}, nil
	}
	return &v1.ImageStatusResponse{Image: describe(request.GetImage().GetImage(), image)}, nil
}

// PullImage succeeds for images that are mapped.
func (s *imageService) PullImage(_ context.Context, request *v1.PullImageRequest) (*v1.PullImageResponse, error) {
	name := request.GetImage().GetImage()
	image, found := s.images.Find(name)
	if !found {
		return nil, status.Errorf(codes.NotFound, "failed to pull and unpack image %q: not found: no image of that name is mapped", name)
	}
	return &v1.PullImageResponse{ImageRef: imageID(image)}, nil
}

// RemoveImage removes nothing.
func (s *imageService) RemoveImage(context.Context, *v1.RemoveImageRequest) (*v1.RemoveImageResponse, error) {
	return &v1.RemoveImageResponse{}, nil
}

// ImageFsInfo says that images take no place.
func (s *imageService) ImageFsInfo(context.Context, *v1.ImageFsInfoRequest) (*v1.ImageFsInfoResponse, error) {
	usage := []*v1.FilesystemUsage{{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &v1.FilesystemIdentifier{Mountpoint: s.folder},
		UsedBytes:  &v1.UInt64Value{},
		InodesUsed: &v1.UInt64Value{},
	}}
	return &v1.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

func describe(name string, image images.Image) *v1.Image {
	return &v1.Image{
		Id:       imageID(image),
		RepoTags: []string{name},
		Size:     1,
		Uid:      &v1.Int64Value{Value: image.UID},
		Spec:     &v1.ImageSpec{Image: name},
	}
}

// imageID is the same for the same image, and looks like an ID.
func imageID(image images.Image) string {
	sum := sha256.Sum256(fmt.Append(nil, image))
	return "sha256:" + hex.EncodeToString(sum[:])
}
