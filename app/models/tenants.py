from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, HasCreatedAt, HasId


class Tenant(HasId, HasCreatedAt, Base):
    __tablename__ = "tenants"
    __table_args__ = ({"comment": "A company; every other row belongs to one"},)

    name: Mapped[str] = mapped_column(Text, unique=True, comment="Shown to operators")
