from tests.conftest import Service


async def test_smoke(service: Service) -> None:
    async with service.client() as http:
        body = {"email": "A@b.example", "password": "correct horse"}
        r = await http.post("/api/v1/auth/register", json=body)
        print(r.status_code, r.text)
        r = await http.post("/api/v1/auth/register", json=body)
        print(r.status_code, r.text)
        r = await http.post("/api/v1/auth/login", json=body)
        print(r.status_code, r.text)
        pair = r.json()
        r = await http.post(
            "/api/v1/auth/login",
            data={"username": "a@b.example", "password": "correct horse", "grant_type": "password"},
        )
        print(r.status_code)
        h = {"Authorization": "Bearer " + pair["access_token"]}
        r = await http.get("/api/v1/auth/me", headers=h)
        print(r.status_code, r.text)
        r = await http.get("/api/v1/users", headers=h)
        print(r.status_code, r.text)
        r = await http.post("/api/v1/sessions", headers=h, json={"user_id": r.json().get("id", "x")})
        print(r.status_code, r.text)
        r = await http.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        print(r.status_code, r.text)
        r = await http.post("/api/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})
        print(r.status_code, r.text)
        r = await http.get("/api/v1/auth/me", headers=h)
        print(r.status_code, r.text)
    assert 0
