package main

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// A check: the bytes of a CheckRequest, or what a case says of its HTTP request.
type check struct {
	Bytes   []byte  `json:"bytes"`
	Request request `json:"request"`
}

type request struct {
	Method    string            `json:"method"`
	Path      string            `json:"path"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	RawBody   string            `json:"raw_body"`
	Principal string            `json:"principal"`
}

// The input document of a check, or why there is none.
type input struct {
	Document map[string]any `json:"document,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// document makes the input document of OPA's Envoy plugin as that documents it, by the libraries that the plugin uses: protojson,
// net/url, encoding/json, mime. The plugin's own module is on no registry.
func document(check check) input {
	made, err := makeDocument(check)
	if err != nil {
		return input{Error: err.Error()}
	}
	return input{Document: made}
}

func (said request) message() *auth.CheckRequest {
	http := &auth.AttributeContext_HttpRequest{
		Method: said.Method, Path: said.Path, Headers: said.Headers, Body: said.Body, RawBody: []byte(said.RawBody),
	}
	return &auth.CheckRequest{Attributes: &auth.AttributeContext{
		Source:  &auth.AttributeContext_Peer{Principal: said.Principal},
		Request: &auth.AttributeContext_Request{Http: http},
	}}
}

func makeDocument(check check) (map[string]any, error) {
	request := check.Request.message()
	if len(check.Bytes) > 0 {
		request = &auth.CheckRequest{}
		if err := proto.Unmarshal(check.Bytes, request); err != nil {
			return nil, err
		}
	}
	text, err := protojson.Marshal(request)
	if err != nil {
		return nil, err
	}
	made := map[string]any{}
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, err
	}
	http := request.GetAttributes().GetRequest().GetHttp()
	target, err := url.Parse(http.GetPath())
	if err != nil {
		return nil, err
	}
	body, truncated, err := parsedBody(http)
	if err != nil {
		return nil, err
	}
	made["version"] = map[string]string{"ext_authz": "v3", "encoding": "protojson"}
	made["parsed_path"] = strings.Split(strings.TrimLeft(target.Path, "/"), "/")
	made["parsed_query"] = target.Query()
	made["parsed_body"] = body
	made["truncated_body"] = truncated
	if principal := request.GetAttributes().GetSource().GetPrincipal(); principal != "" {
		made["source_principal"] = principal
	}
	return made, nil
}

// parsedBody reads a body by its content type; the second value says that the body was cut.
func parsedBody(http *auth.AttributeContext_HttpRequest) (any, bool, error) {
	headers := http.GetHeaders()
	if headers["x-envoy-auth-partial-body"] == "true" {
		return nil, true, nil
	}
	body := http.GetBody()
	if body == "" {
		body = string(http.GetRawBody())
	}
	read, known := readers(headers["content-type"])
	if !known || body == "" {
		return nil, false, nil
	}
	if length, there := headers["content-length"]; there {
		told, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return nil, false, err
		}
		if told != -1 && told > int64(len(body)) {
			return nil, true, nil
		}
	}
	value, err := read(body)
	return value, false, err
}

func readers(contentType string) (func(string) (any, error), bool) {
	switch {
	case strings.Contains(contentType, "application/json"):
		return parsedJSON, true
	case strings.Contains(contentType, "application/grpc"):
		// Without descriptors, which a plugin need not have.
		return nil, false
	case strings.Contains(contentType, "application/x-www-form-urlencoded"):
		return func(body string) (any, error) {
			values, err := url.ParseQuery(body)
			return map[string][]string(values), err
		}, true
	case strings.Contains(contentType, "multipart/form-data"):
		return func(body string) (any, error) { return parsedParts(body, contentType) }, true
	default:
		return nil, false
	}
}

func parsedJSON(text string) (any, error) {
	var value any
	err := json.Unmarshal([]byte(text), &value)
	return value, err
}

func parsedParts(body, contentType string) (any, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	boundary, there := parameters["boundary"]
	if !there {
		return nil, nil
	}
	values := map[string][]any{}
	parts := multipart.NewReader(strings.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, err
		}
		if part.FormName() == "" {
			continue
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		var value any = string(text)
		if strings.Contains(part.Header.Get("Content-Type"), "application/json") {
			if value, err = parsedJSON(string(text)); err != nil {
				return nil, err
			}
		}
		values[part.FormName()] = append(values[part.FormName()], value)
	}
}
