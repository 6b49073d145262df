package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody is the largest request body read, in bytes.
const maxBody = 64 << 10

// routes sets up the mux. Whatever is under /v2/ wants the API key first, so that nobody without it learns what exists.
func (s *Service) routes() {
	api := http.NewServeMux()
	const root = "/v2/telephony_credentials"
	api.HandleFunc("POST "+root, s.handleCreate)
	api.HandleFunc("GET "+root, s.handleList)
	api.HandleFunc("GET "+root+"/{id}", s.handleGet)
	api.HandleFunc("PATCH "+root+"/{id}", s.handleUpdate)
	api.HandleFunc("DELETE "+root+"/{id}", s.handleDelete)
	api.HandleFunc("POST "+root+"/{id}/token", s.handleToken)
	api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "10005", "Resource not found", "There is nothing at "+r.Method+" "+r.URL.Path+".", "")
	})
	s.mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		if !SameSecret(bearer(r), s.APIKey()) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "10009", "Authentication failed",
				"Send the API key as \"Authorization: Bearer KEY…\".", "")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		api.ServeHTTP(w, r)
	})
	s.mux.HandleFunc("POST /v1/devices/{name}/token", s.handleDeviceToken)
}

// bearer gives the bearer token of a request, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// view is a credential as the API shows it.
type view struct {
	Credential
	Status     Status `json:"status"`
	Expired    bool   `json:"expired"`
	UserID     string `json:"user_id"`
	RecordType string `json:"record_type"`
}

func (s *Service) view(c Credential) view {
	now := s.cfg.Now()
	return view{Credential: c, Status: c.status(now), Expired: c.expired(now), UserID: s.state.UserID, RecordType: "credential"}
}

// changes is the body of POST and PATCH. A field that is absent stays nil; "expires_at": null is kept apart from that.
type changes struct {
	Name         *string         `json:"name"`
	ConnectionID *string         `json:"connection_id"`
	ExpiresAt    json.RawMessage `json:"expires_at"`
	Tag          *string         `json:"tag"`
}

// apply sets on c what the body names.
func (ch changes) apply(c *Credential) error {
	if ch.Name != nil {
		c.Name = *ch.Name
	}
	if ch.Tag != nil {
		c.Tag = *ch.Tag
	}
	if ch.ExpiresAt == nil {
		return nil
	}
	var at *string
	if err := json.Unmarshal(ch.ExpiresAt, &at); err != nil {
		return &invalidError{"/expires_at", "expires_at must be a text"}
	}
	c.ExpiresAt = nil
	if at != nil {
		t, err := parseTime(*at)
		if err != nil {
			return err
		}
		c.ExpiresAt = &t
	}
	return nil
}

// readChanges reads the body of POST and PATCH; none at all is an empty one.
func readChanges(r *http.Request) (changes, error) {
	var ch changes
	err := json.NewDecoder(r.Body).Decode(&ch)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return ch, nil
	case errors.As(err, &wrong):
		return ch, &invalidError{"/" + wrong.Field, fmt.Sprintf("%s must not be a %s", wrong.Field, wrong.Value)}
	default:
		return ch, &invalidError{"", "the body is not a JSON object: " + err.Error()}
	}
}

func (s *Service) handleCreate(w http.ResponseWriter, r *http.Request) {
	var c Credential
	ch, err := readChanges(r)
	if err == nil {
		err = ch.apply(&c)
	}
	if err == nil {
		if ch.ConnectionID != nil && *ch.ConnectionID != "" {
			c.ResourceID = "connection:" + *ch.ConnectionID
		}
		c, err = s.create(c)
	}
	s.answer(w, http.StatusCreated, c, err)
}

func (s *Service) handleGet(w http.ResponseWriter, r *http.Request) {
	c, err := s.get(r.PathValue("id"))
	s.answer(w, http.StatusOK, c, err)
}

func (s *Service) handleUpdate(w http.ResponseWriter, r *http.Request) {
	ch, err := readChanges(r)
	if err == nil {
		err = ch.apply(&Credential{}) // whether the values are good is independent of what they change
	}
	var c Credential
	if err == nil {
		c, err = s.update(r.PathValue("id"), func(c *Credential) { _ = ch.apply(c) })
	}
	s.answer(w, http.StatusOK, c, err)
}

func (s *Service) handleDelete(w http.ResponseWriter, r *http.Request) {
	c, err := s.remove(r.PathValue("id"))
	if err != nil {
		s.answer(w, 0, c, err)
		return
	}
	v := s.view(c)
	v.Status = Deleted
	writeJSON(w, http.StatusOK, map[string]any{"data": v})
}

func (s *Service) handleToken(w http.ResponseWriter, r *http.Request) {
	token, _, err := s.mint(r.PathValue("id"))
	if err != nil {
		s.answer(w, 0, Credential{}, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, token)
}

// pageMeta is "meta" of a list.
type pageMeta struct {
	TotalPages   int `json:"total_pages"`
	TotalResults int `json:"total_results"`
	PageNumber   int `json:"page_number"`
	PageSize     int `json:"page_size"`
}

func (s *Service) handleList(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	number, err := queryInt(q.Get("page[number]"), 1, 1<<20, 1)
	size, err2 := queryInt(q.Get("page[size]"), 1, 250, 20)
	if err = errors.Join(err, err2); err != nil {
		s.answer(w, 0, Credential{}, &invalidError{"/page", err.Error()})
		return
	}
	s.mu.Lock()
	all := make([]view, 0, len(s.state.Credentials))
	for _, c := range s.state.Credentials {
		all = append(all, s.view(*c))
	}
	s.mu.Unlock()
	for filter, value := range map[string]func(view) string{
		"name": func(v view) string { return v.Name }, "tag": func(v view) string { return v.Tag },
		"status": func(v view) string { return string(v.Status) }, "resource_id": func(v view) string { return v.ResourceID },
		"sip_username": func(v view) string { return v.SIPUsername },
	} {
		if want := q.Get("filter[" + filter + "]"); want != "" {
			all = slices.DeleteFunc(all, func(v view) bool { return value(v) != want })
		}
	}
	meta := pageMeta{TotalPages: (len(all) + size - 1) / size, TotalResults: len(all), PageNumber: number, PageSize: size}
	from := min((number-1)*size, len(all))
	writeJSON(w, http.StatusOK, map[string]any{"data": all[from:min(from+size, len(all))], "meta": meta})
}

func queryInt(s string, low, high, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, low, high)
	}
	return n, nil
}

// answer writes a credential, or what was wrong.
func (s *Service) answer(w http.ResponseWriter, status int, c Credential, err error) {
	var invalid *invalidError
	switch {
	case err == nil:
		writeJSON(w, status, map[string]any{"data": s.view(c)})
	case errors.Is(err, ErrNotFound):
		refuse(w, http.StatusNotFound, "10005", "Resource not found", "There is no such credential, or it was deleted.", "")
	case errors.Is(err, ErrExpired):
		refuse(w, http.StatusUnprocessableEntity, "10027", "Credential expired", err.Error()+"; it can only be deleted", "/status")
	case errors.As(err, &invalid):
		refuse(w, http.StatusUnprocessableEntity, "10015", "Invalid value", invalid.detail, invalid.pointer)
	default:
		s.cfg.Logger.Error("credentials API", "error", err)
		refuse(w, http.StatusInternalServerError, "10007", "Unexpected error", "The change could not be saved; see the lab's log.", "")
	}
}

// apiError is one of "errors".
type apiError struct {
	Code   string  `json:"code"`
	Title  string  `json:"title"`
	Detail string  `json:"detail"`
	Source *source `json:"source,omitempty"`
}

// source points at what was wrong (RFC 6901).
type source struct {
	Pointer string `json:"pointer"`
}

func refuse(w http.ResponseWriter, status int, code, title, detail, pointer string) {
	e := apiError{Code: code, Title: title, Detail: detail}
	if pointer != "" {
		e.Source = &source{pointer}
	}
	writeJSON(w, status, map[string]any{"errors": []apiError{e}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// retryAfter refuses for a while.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(d.Seconds())+1))
	refuse(w, http.StatusTooManyRequests, "10011", "Too many requests", "Wait before you ask again.", "")
}
